//! The program: what it is asked, and its exit codes (0 ended as asked, 2 wrong usage, 70 internal,
//! 78 unusable configuration).

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use coherence_hub::cli;

/// Hears the hearts of a room, scores their coherence and shows it live.
#[derive(Parser)]
#[command(name = "coherence-hub", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(cli::run::RunArgs),
    Demo(cli::demo::DemoArgs),
    Score(cli::score::ScoreArgs),
    CheckConfig(cli::check_config::CheckConfigArgs),
    Straps(cli::straps::StrapsArgs),
    Pin(cli::pin::PinArgs),
    Token(cli::token::TokenArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => cli::run::run(args),
        Command::Demo(args) => cli::demo::run(args),
        Command::Score(args) => cli::score::run(args),
        Command::CheckConfig(args) => cli::check_config::run(args),
        Command::Straps(args) => cli::straps::run(args),
        Command::Pin(args) => cli::pin::run(args),
        Command::Token(args) => cli::token::run(args),
    }
}
