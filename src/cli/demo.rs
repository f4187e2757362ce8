//! `interlock demo`: the get-or-create deadlock, seen and prevented.
//!
//! Starts a private server (or takes one that runs already), then runs one workload three times: direct,
//! through `interlock run --action flag`, through `--action reorder`. The workload and its clients live in
//! this process; the proxy is the same program as a child, so what is measured is what is shipped.

mod child;
mod report;
mod server;
mod timeline;
mod workload;

use self::child::Proxy;
use self::report::Report;
use self::server::{DemoServer, Target};
use self::workload::{Figures, Pattern, Plan};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// What `demo --help` says after the list of flags.
const AFTER_HELP: &str = "\
Each transaction gets or creates a parent row, then adds a child row:
  BEGIN; SELECT … FROM batch WHERE server_id = ? LIMIT 1 FOR UPDATE; [INSERT INTO batch …;]
  INSERT INTO cycle …; COMMIT
Two of them that miss in the same gap both get its lock, then each waits for the other: deadlock.

Without --upstream a private server starts in a temporary directory, and goes at the end.
INTERLOCK_DEMO_SERVER names the server program, if it is not in the path.
Exit code 1: a deadlock came through with reorder, or the demonstration could not run.";

/// Arguments of the demonstration.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Connections that run transactions at the same time.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    clients: u16,
    /// Duration of each of the three runs.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
    /// Which keys the transactions ask for.
    #[arg(long, value_enum, default_value_t = Pattern::Append)]
    pattern: Pattern,
    /// Proxies side by side, clients spread over them; several coordinate through the server.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    proxies: u16,
    /// Which server to start.
    #[arg(long, value_enum, default_value_t = server::Choice::Auto)]
    server: server::Choice,
    /// A server that runs already: host:port. Its schema interlock_demo is made, and dropped at the end.
    #[arg(long, value_name = "ADDR")]
    upstream: Option<String>,
    /// Account for --upstream: may create a schema and tables.
    #[arg(long, default_value = "root")]
    user: String,
    /// Its password.
    #[arg(long, default_value = "", hide_default_value = true)]
    password: String,
    /// Writes the figures, and the conflict that was shown, to a file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only these of the three runs.
    #[arg(long, value_enum, value_delimiter = ',', hide = true)]
    only: Vec<Way>,
    /// Clients of the direct run connect here instead: another proxy in front of --upstream.
    #[arg(long, value_name = "ADDR", hide = true)]
    through: Option<String>,
}

/// The way that a run takes to the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Way {
    Direct,
    Flag,
    Reorder,
}

impl Way {
    const ALL: [Way; 3] = [Way::Direct, Way::Flag, Way::Reorder];

    fn name(self) -> &'static str {
        match self {
            Way::Direct => "direct",
            Way::Flag => "flag",
            Way::Reorder => "reorder",
        }
    }
}

/// Why the demonstration could not run.
#[derive(thiserror::Error, Debug)]
enum DemoError {
    #[error(transparent)]
    Server(#[from] server::ServerError),
    #[error(transparent)]
    Proxy(#[from] child::ProxyError),
    #[error("the server refused the demonstration: {0}")]
    Sql(#[from] mysql_async::Error),
    #[error("not one transaction could be committed ({run}): {reason}")]
    NothingCommitted { run: &'static str, reason: String },
    #[error("{path} cannot be written: {source}")]
    Json { path: PathBuf, source: std::io::Error },
    #[error("no runtime: {0}")]
    Runtime(std::io::Error),
    #[error("interrupted")]
    Interrupted,
}

/// Runs the demonstration.
pub fn run(args: &Args) -> ExitCode {
    match demonstrate(args) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(deadlocks) => {
            eprintln!("interlock demo: {deadlocks} deadlocks came through with reorder");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("interlock demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The number of deadlocks that came through with reorder.
fn demonstrate(args: &Args) -> Result<u64, DemoError> {
    // One thread: clients, proxy and server share the machine's cores, and the clients should take least.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(DemoError::Runtime)?.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(DemoError::Runtime)?;
        // On a signal the future is dropped, and with it the server, the proxy and their files.
        tokio::select! {
            outcome = all_runs(args) => outcome,
            _ = tokio::signal::ctrl_c() => Err(DemoError::Interrupted),
            _ = terminate.recv() => Err(DemoError::Interrupted),
        }
    })
}

async fn all_runs(args: &Args) -> Result<u64, DemoError> {
    let started; // keeps a private server alive until the end
    let target = match &args.upstream {
        Some(address) => Target::running(address, &args.user, &args.password)?,
        None => {
            say("starting a private server");
            started = DemoServer::start(args.server).await?;
            started.target.clone()
        }
    };
    let mut report = Report::new(target.version().await?, args);
    println!(
        "{}: {} clients, {} s each, pattern {}{}",
        report.server,
        args.clients,
        args.seconds,
        report.pattern,
        if args.proxies > 1 { format!(", {} proxies", args.proxies) } else { String::new() }
    );
    let mut conflicts = Vec::new();
    for way in Way::ALL {
        if !args.only.is_empty() && !args.only.contains(&way) {
            continue;
        }
        let (figures, seen, lines) = one_run(args, &target, way).await?;
        report.runs.push(figures);
        report.hand_overs.extend(lines);
        conflicts.extend(seen);
    }
    target.drop_schema().await?;
    report.conflict = timeline::choose(conflicts);
    print!("{}", report.table());
    if let Some(conflict) = &report.conflict {
        print!("\n{}", timeline::draw(conflict));
    }
    if let Some(path) = &args.json {
        std::fs::write(path, report.json())
            .map_err(|source| DemoError::Json { path: path.clone(), source })?;
    }
    Ok(report.deadlocks_with_reorder())
}

/// One of the three runs: its figures, the conflicts that interlock has recorded, and a line on its hand-overs.
async fn one_run(
    args: &Args,
    target: &Target,
    way: Way,
) -> Result<(Figures, Vec<serde_json::Value>, Vec<String>), DemoError> {
    target.fresh_tables(args.pattern).await?;
    let mut proxies = Vec::new();
    if way != Way::Direct {
        for _ in 0..args.proxies {
            proxies.push(Proxy::start(target, way.name(), args.proxies > 1).await?);
        }
    }
    let mut addresses: Vec<String> = proxies.iter().map(|proxy| proxy.address.clone()).collect();
    if addresses.is_empty() {
        addresses.push(args.through.clone().unwrap_or_else(|| target.address.clone()));
    }
    let ways: Result<Vec<_>, _> = addresses.iter().map(|address| target.options_at(address)).collect();
    let plan = Plan {
        clients: args.clients,
        length: Duration::from_secs(args.seconds.into()),
        pattern: args.pattern,
        progress: std::io::stderr().is_terminal(),
    };
    let figures = workload::run(way.name(), &plan, ways?).await?;
    // Of deadlocks alone a run without a proxy may consist: that is what is to be shown.
    if figures.committed == 0 && figures.deadlocks == 0 {
        let reason = figures.first_error.unwrap_or_else(|| format!("{} timeouts", figures.timeouts));
        return Err(DemoError::NothingCommitted { run: way.name(), reason });
    }
    let (mut conflicts, mut lines) = (Vec::new(), Vec::new());
    for proxy in &proxies {
        conflicts.extend(proxy.conflicts().await);
        lines.extend(proxy.hand_overs().await.line());
    }
    Ok((figures, conflicts, lines))
}

/// Says on a terminal what is going on.
fn say(what: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("{what} …");
    }
}
