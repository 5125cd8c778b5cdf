//! `coherence-hub straps`: the registry of straps: lists all, gives one another label, forgets one.

use std::fmt::Write;
use std::process::ExitCode;

use super::ask::{WhichHub, odd};
use crate::control::{Answer, Request, StrapShown};

/// List, label and forget straps
#[derive(Debug, clap::Args)]
pub struct StrapsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show every strap: how it is, why it gives no score and what to do about it
    List {
        /// Everything that is known of each, addresses and serial numbers included, as JSON
        #[arg(long)]
        json: bool,
        /// Show the address by which the radio knows each, too
        #[arg(long, conflicts_with = "json")]
        addresses: bool,
        #[command(flatten)]
        hub: WhichHub,
    },
    /// Give a strap another label: what is written on it, and what people type to claim it
    Label {
        /// Its label, or #N for the hub's own number of it
        strap: String,
        /// 1 to 32 characters; no two straps have the same. `strap N` of its own number takes a label back
        label: String,
        #[command(flatten)]
        hub: WhichHub,
    },
    /// Forget a strap: its address, its label and who wears it. R-R that it delivered stay the data of who
    /// wore it. One that is still on is heard again, as a new one
    Forget {
        /// Its label, or #N for the hub's own number of it
        strap: String,
        #[command(flatten)]
        hub: WhichHub,
    },
}

/// Asks the running hub, or its database when none runs.
pub fn run(args: StrapsArgs) -> ExitCode {
    let (answer, json, addresses) = match args.what {
        What::List {
            json,
            addresses,
            hub,
        } => {
            let answer = hub.ask(Request::Straps, "the straps can't be listed");
            (answer, json, addresses)
        }
        What::Label { strap, label, hub } => {
            let request = Request::LabelStrap { strap, label };
            let answer = hub.ask(request, "the strap can't be labelled");
            (answer, false, false)
        }
        What::Forget { strap, hub } => {
            let request = Request::ForgetStrap { strap };
            let answer = hub.ask(request, "the strap can't be forgotten");
            (answer, false, false)
        }
    };
    match answer {
        Ok(Answer::Straps { straps, .. }) if json => {
            let text = serde_json::to_string_pretty(&straps).expect("plain values");
            println!("{text}");
        }
        Ok(Answer::Straps {
            straps,
            now_at,
            running,
        }) => {
            print!("{}", table(&straps, now_at, running, addresses));
            if !running {
                eprintln!("The hub is not running: this is what it knew when it stopped.");
            }
        }
        Ok(Answer::Done) => {}
        Ok(_) => return odd(),
        Err(code) => return code,
    }
    ExitCode::SUCCESS
}

fn table(straps: &[StrapShown], now_at: i64, running: bool, addresses: bool) -> String {
    if straps.is_empty() {
        return "the hub has heard no strap yet\n".to_owned();
    }
    let mut head = vec![
        "no",
        "label",
        "radio",
        "state",
        "battery",
        "last seen",
        "worn",
        "model",
    ];
    if addresses {
        head.push("address");
    }
    head.push("why no score, and what to do");
    let mut lines = vec![head.into_iter().map(str::to_owned).collect()];
    lines.extend(straps.iter().map(|strap| {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let mut cells = vec![
            strap.no.to_string(),
            strap.label.clone(),
            strap.transport.clone(),
            if running {
                strap.state.clone()
            } else {
                "-".to_owned()
            },
            or_dash(strap.battery_pct.map(|pct| format!("{pct} %"))),
            or_dash(strap.last_seen_at.map(|at| ago(now_at - at))),
            if strap.claimed { "yes" } else { "no" }.to_owned(),
            or_dash(strap.model.clone()),
        ];
        if addresses {
            cells.push(strap.address.clone());
        }
        cells.push(match (&strap.cause, &strap.text, &strap.advice) {
            (Some(code), Some(text), Some(advice)) if running => {
                format!("{code}: {text} {advice}")
            }
            _ => "-".to_owned(),
        });
        cells
    }));
    aligned(&lines)
}

/// Columns below each other; the last one is as long as it is.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = lines.iter().map(|cells| cells[column].chars().count());
            cells.max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for cells in lines {
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let end = if column + 1 == columns { "\n" } else { "  " };
            let width = if column + 1 == columns { 0 } else { *width };
            write!(text, "{cell:width$}{end}").expect("a String takes everything");
        }
    }
    text
}

fn ago(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn straps() -> Vec<StrapShown> {
        let strap = |no: u32, label: &str| StrapShown {
            no,
            label: label.to_owned(),
            transport: "ble".to_owned(),
            address: format!("D0:5F:B8:00:00:0{no}"),
            ..StrapShown::default()
        };
        vec![
            StrapShown {
                state: "streaming".to_owned(),
                battery_pct: Some(80),
                last_seen_at: Some(999_000),
                claimed: true,
                model: Some("H10".to_owned()),
                ..strap(1, "strap 1")
            },
            StrapShown {
                state: "silent".to_owned(),
                cause: Some("silent".to_owned()),
                text: Some("It is near and sends no beats.".to_owned()),
                advice: Some("Wet it.".to_owned()),
                last_seen_at: Some(0),
                ..strap(12, "Gürtel 12")
            },
        ]
    }

    #[test]
    fn the_list_tells_how_each_strap_is_and_what_to_do() {
        let expected = "\
no  label      radio  state      battery  last seen   worn  model  why no score, and what to do
1   strap 1    ble    streaming  80 %     1 s ago     yes   H10    -
12  Gürtel 12  ble    silent     -        16 min ago  no    -      silent: It is near and sends no beats. Wet it.
";
        assert_eq!(table(&straps(), 1_000_000, true, false), expected);
    }

    #[test]
    fn addresses_are_shown_where_they_are_asked_for_only() {
        assert!(!table(&straps(), 0, true, false).contains("D0:5F"));
        assert!(table(&straps(), 0, true, true).contains("D0:5F:B8:00:00:01"));
    }

    #[test]
    fn a_hub_that_does_not_run_tells_no_state() {
        let text = table(&straps(), 1_000_000, false, false);
        assert!(
            !text.contains("streaming") && !text.contains("Wet it"),
            "{text}"
        );
        assert_eq!(
            table(&[], 0, true, false),
            "the hub has heard no strap yet\n"
        );
    }

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        let told: Vec<_> = [-5, 59_999, 60_000, 7_200_000, 172_800_000].map(ago).into();
        assert_eq!(
            told,
            ["0 s ago", "59 s ago", "1 min ago", "2 h ago", "2 days ago"]
        );
    }
}
