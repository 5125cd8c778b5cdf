//! The pure parts of the pages, run where they will run.

use crate::support::browser::Browser;
use crate::support::hub::Hub;

#[tokio::test(flavor = "multi_thread")]
async fn the_pure_parts_of_the_pages_do_what_they_say() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::demo(dir.path(), &["--people", "3", "--session-min", "60"]).await;
    let mut page = Browser::open(&hub.url("/"), 390, 844).await;
    page.wait_until(
        "!document.getElementById('join').hidden && room.clock.known && room.room.stage",
    )
    .await;
    for (what, expression) in [
        (
            "gaps of a curve are where no score was, and nowhere else",
            "import('/heart.js').then(({ gapsOf }) => {
                const points = []; for (let s = 65; s <= 300; s += 5) points.push([s * 1000, s > 100 && s < 150 ? null : 50, 8]);
                return JSON.stringify(gapsOf(points, 0, 302_000)) === JSON.stringify([[0, 65_000], [100_000, 150_000]]);
            })",
        ),
        (
            "a curve is not joined across a gap",
            "import('/charts.js').then(({ trend }) => (trend({ points: [[0, 50, 5], [5, 52, 5], [10, null, null], [15, 60, 5], [20, 61, 5]] }).match(/class=\"me\"/g) || []).length === 2)",
        ),
        (
            "more order in the room is more order in the figure, and agreement by chance is none",
            "import('/mandala.js').then(({ measures }) => {
                const m = (coherence, synchrony) => measures({ coherence, synchrony, chance: 17, scored: 8, phase: 'active' });
                return m(70, 10).order > m(40, 10).order && m(50, 17).lock === 0 && m(50, 40).lock > 0 && !measures({ coherence: 50, scored: 2 }).known;
            })",
        ),
        (
            "the same session always has the same figure, another another",
            "import('/mandala.js').then(({ plan, figure }) => {
                const state = { coherence: 60, synchrony: 30, chance: 10, people: 8, scored: 8, breath: .5, breathTurn: .2, phase: 'active', progress: 0, time: 3 };
                const sum = (seed) => figure(plan(seed, { detail: .5 }), state).xy.reduce((a, x) => a + x, 0);
                const finite = Array.from(figure(plan('x', { detail: .5 }), { ...state, coherence: null, synchrony: null }).xy).every(Number.isFinite);
                return sum('a') === sum('a') && sum('a') !== sum('b') && finite;
            })",
        ),
        (
            "a figure that is made in pieces is the one that is made at once",
            "import('/mandala.js').then(({ plan, figure, begin, advance }) => {
                const state = { coherence: 60, synchrony: 30, chance: 10, people: 8, scored: 8, breath: .5, breathTurn: .2, phase: 'active', progress: 0, time: 3 };
                const p = plan('a', { detail: .5 }), job = begin(p, state), whole = figure(p, state);
                let pieces = 1; while (!advance(job, 7)) pieces++;
                return pieces > 4 && ['xy', 'depth', 'look', 'beads'].every((part) => whole[part].every((x, i) => x === job.out[part][i]));
            })",
        ),
        (
            "a figure that is made ahead of its time has the breath of then",
            "import('/figure.js').then(({ breathNow }) => {
                const then = breathNow(room.room, room.clock.now() + 2000).turn, now = breathNow(room.room, room.clock.now()).turn;
                const apart = (a, b) => Math.min(Math.abs(a - b), 1 - Math.abs(a - b));
                return apart(room.live.figure.state(performance.now() / 1000 + 2).breathTurn, then) < .01 && apart(now, then) > .1;
            })",
        ),
        (
            "what glides and was asked ahead of its time waits there",
            "import('/room.js').then(({ Glide }) => { const g = new Glide(); g.toward(0, 0); const then = g.toward(100, 2); return then > 50 && g.toward(100, 1) === then && g.toward(100, 2) === then; })",
        ),
        (
            "a table keeps commas and formulas inside their cells",
            "import('/me.js').then(({ table }) => table({ scores: [{ sessionId: '=1+1', at: 0, strap: 'a,b', score: -1.5 }] }).split('\\r\\n')[1].startsWith('\\'=1+1,1970-01-01T00:00:00.000Z,\"a,b\",-1.5,'))",
        ),
        (
            "an average that glides gets there and never beyond",
            "import('/room.js').then(({ Glide }) => { const g = new Glide(); g.toward(40, 0); let last = 40; for (let s = .1; s < 20; s += .1) { const v = g.toward(60, s); if (v < last || v > 60) return false; last = v; } return last > 59.9 && g.toward(null, 21) === null; })",
        ),
    ] {
        assert_eq!(page.ask(expression).await, true, "{what}");
    }
}
