//! `coherence-hub token`: tokens for programs: makes one, lists all, takes one back.

use std::fmt::Write;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use jiff::Timestamp;

use super::ask::{WhichHub, odd};
use crate::access::Scope;
use crate::control::{Answer, Request, TokenShown};

/// Make, list and take back tokens for programs
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a token and show its text, once
    New {
        /// What it opens. metrics: GET /metrics
        #[arg(long, value_parser = scope())]
        scope: Scope,
        /// By this it is listed and taken back: letters, digits, hyphens, dots, underscores
        #[arg(long)]
        name: String,
        /// How long it is good for
        #[arg(long, value_name = "N", default_value_t = 365)]
        days: u32,
        #[command(flatten)]
        hub: WhichHub,
    },
    /// Show every token's name, scope and times, never its text
    List {
        #[command(flatten)]
        hub: WhichHub,
    },
    /// Take a token back: it opens nothing any more
    Revoke {
        name: String,
        #[command(flatten)]
        hub: WhichHub,
    },
}

fn scope() -> impl TypedValueParser<Value = Scope> {
    let words = Scope::ALL.iter().map(|scope| scope.word());
    PossibleValuesParser::new(words)
        .map(|word| Scope::of(&word).expect("only words of scopes are let through"))
}

/// Asks the running hub, or its database when none runs.
pub fn run(args: TokenArgs) -> ExitCode {
    let answer = match args.what {
        What::New {
            scope,
            name,
            days,
            hub,
        } => {
            let request = Request::NewToken { name, scope, days };
            hub.ask(request, "the token can't be made")
        }
        What::List { hub } => hub.ask(Request::Tokens, "the tokens can't be listed"),
        What::Revoke { name, hub } => hub.ask(
            Request::RevokeToken { name },
            "the token can't be taken back",
        ),
    };
    match answer {
        // The text alone on standard output, so that a script can take it.
        Ok(Answer::Token(text)) => {
            println!("{text}");
            eprintln!(
                "This is shown once. Send it in the header `Authorization: Bearer {}…`.",
                crate::access::scoped::PREFIX
            );
        }
        Ok(Answer::Tokens(tokens)) => print!("{}", table(&tokens)),
        Ok(Answer::Done) => {}
        Ok(_) => return odd(),
        Err(code) => return code,
    }
    ExitCode::SUCCESS
}

fn table(tokens: &[TokenShown]) -> String {
    if tokens.is_empty() {
        return "there are no tokens\n".to_owned();
    }
    let width = tokens.iter().map(|token| token.name.len()).max();
    let width = width.unwrap_or_default().max("name".len());
    let mut text = format!(
        "{:width$}  {:8}  {:16}  {:16}  last used (UTC, by the hour)\n",
        "name", "scope", "made", "expires"
    );
    for token in tokens {
        writeln!(
            text,
            "{:width$}  {:8}  {:16}  {:16}  {}",
            token.name,
            token.scope.word(),
            moment(token.made_at),
            moment(token.expires_at),
            token.used_at.map_or_else(|| "never".to_owned(), moment),
        )
        .expect("a String takes everything");
    }
    text
}

/// To the minute, UTC.
fn moment(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(
        |_| "?".to_owned(),
        |at| at.strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_tells_when_each_token_was_made_ends_and_was_used() {
        let token = |name: &str, used_at| TokenShown {
            name: name.into(),
            scope: Scope::Metrics,
            made_at: 1_795_165_200_000,
            expires_at: 1_795_165_200_000 + 86_400_000,
            used_at,
        };
        let text = table(&[
            token("a", None),
            token("grafana-2", Some(1_795_168_800_000)),
        ]);
        let expected = "\
name       scope     made              expires           last used (UTC, by the hour)
a          metrics   2026-11-20 09:00  2026-11-21 09:00  never
grafana-2  metrics   2026-11-20 09:00  2026-11-21 09:00  2026-11-20 10:00
";
        assert_eq!(text, expected);
        assert_eq!(table(&[]), "there are no tokens\n");
    }
}
