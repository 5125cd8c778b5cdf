//! `score --session` of the real program, and what it says. Not here: what it should say.

use std::path::Path;
use std::process::Command;

use super::hub::{PROGRAM, quiet};

/// How a recomputation ended.
#[derive(Debug)]
pub struct Recomputed {
    pub code: Option<i32>,
    pub out: String,
    pub complaints: String,
}

/// Computes a session of the hub in this directory again.
pub fn score_session(data_dir: &Path, session_id: &str) -> Recomputed {
    let output = quiet(&mut Command::new(PROGRAM))
        .args(["score", "--session", session_id, "--data-dir"])
        .arg(data_dir)
        .output()
        .expect("the program was built for this test");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Recomputed {
        code: output.status.code(),
        out: text(output.stdout),
        complaints: text(output.stderr),
    }
}

impl Recomputed {
    /// Everything was compared and is equal: the number of evaluations, and of scores among them.
    pub fn all_equal(&self) -> (usize, usize) {
        assert_eq!(
            (self.code, self.complaints.as_str()),
            (Some(0), ""),
            "{self:?}"
        );
        assert!(!self.out.contains("can't be checked"), "{self:?}");
        println!("{}", self.out);
        (self.number(" evaluations"), self.number(" of them scores"))
    }

    /// The number before these words of the output.
    pub fn number(&self, words: &str) -> usize {
        let before = self.out.split_once(words).map(|(before, _)| before);
        let number = before.and_then(|before| before.rsplit([' ', '(', '\n']).next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no number before {words:?} in {self:?}"))
    }
}
