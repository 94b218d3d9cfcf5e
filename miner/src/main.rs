//! `agon-miner`: loads models, then serves them.

use std::io::Write;
use std::process::ExitCode;

use agon_miner::args::{self, Cli, Command, DoctorArgs, FitArgs, HashArgs, ServeArgs};
use agon_miner::digests::{Digests, Facts, Origin};
use agon_miner::doctor::{self, Report, Standing};
use agon_miner::fit::{Fit, Verdict};
use agon_miner::hub::{self, settings::Settings};
use agon_miner::models::Models;
use agon_miner::shelf::{self, Shelf, tell_tenths};
use agon_miner::{World, check, run};
use agon_model::DeviceProbe;
use agon_protocol::id::Digest;
use agon_runtime::clock::Clock;
use agon_runtime::flags::ExitWith;
use agon_runtime::net::Net;
use agon_runtime::shutdown::{Hangups, Shutdown};
use agon_runtime::{flags, telemetry};
use anyhow::Context;
use clap::Parser;
use tokio::sync::mpsc;

fn main() -> ExitCode {
    // Before anything asks libtorch about CUDA.
    agon_model::start();
    match start(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => flags::last_words(error.as_ref()),
    }
}

#[tokio::main(worker_threads = 2)]
async fn start(cli: &Cli) -> anyhow::Result<()> {
    cli.log.init()?;
    match &cli.command {
        Command::Serve(args) => serve(cli, args).await,
        Command::Fit(args) => fit(args),
        Command::Hash(args) => hash(args),
        Command::Doctor(args) => doctor(cli, args).await,
    }
}

async fn serve(cli: &Cli, args: &ServeArgs) -> anyhow::Result<()> {
    args.miner.child.apply()?;
    let config = args.config(&cli.ledger)?;
    let (shutdown, hangups) = Shutdown::on_signals_but_hangups()?;
    if let Some(addr) = args.miner.metrics.metrics_addr {
        telemetry::serve_metrics(addr, &shutdown).await?;
    }
    let world = World {
        clock: Clock::system(),
        net: Net::tcp(),
    };
    // What can be refused is refused before a large model is fetched or read.
    check(&config, &world.net).await.map_err(ExitWith::from)?;
    let shelf = tokio::select! {
        shelf = open_shelf(args) => shelf?,
        () = shutdown.requested() => anyhow::bail!("stopped while the models were fetched or loaded; what came is kept"),
    };
    let models = Models::new(shelf.backends());
    tokio::spawn(shelf::keep_fresh(shelf, models.clone(), asked_by(hangups)));
    run(config, models, world, shutdown, |_| ())
        .await
        .map_err(ExitWith::from)?;
    Ok(())
}

async fn open_shelf(args: &ServeArgs) -> anyhow::Result<Shelf> {
    let (sources, options) = (args.models.clone(), args.hold.options());
    let (settings, digests) = (Settings::from_env(), Digests::from_env());
    let open = move || Shelf::open(sources, options, settings, digests, &mut tell_tenths());
    let opened = shelf::aside("agon-shelf", open).await;
    Ok(opened.context("load the models on a thread of their own")??)
}

/// A wish to look at the models again for each SIGHUP; those that come while one is fulfilled count as one.
fn asked_by(mut hangups: Hangups) -> mpsc::Receiver<()> {
    let (ask, asked) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            hangups.next().await;
            if let Err(mpsc::error::TrySendError::Closed(())) = ask.try_send(()) {
                return;
            }
        }
    });
    asked
}

#[expect(clippy::print_stdout, reason = "the digest is the product of the command")]
fn hash(args: &HashArgs) -> anyhow::Result<()> {
    let mut tell = tell_tenths();
    let found = hub::find_or_fetch(&args.model, &Settings::from_env(), |progress| {
        tell("fetching the model", progress.bytes_done, progress.bytes_total);
    });
    let dir = found.with_context(|| format!("find model {}", args.model))?.dir;
    let digests = Digests::from_env();
    let kept = digests.kept(&dir, &Facts::of(&dir)?);
    let (digest, origin) = match (kept, args.check) {
        (Some(digest), false) => (digest, Origin::Kept),
        _ => (
            digests
                .read(&dir)
                .with_context(|| format!("read model {}", args.model))?,
            Origin::Read,
        ),
    };
    if let Some(kept) = kept.filter(|kept| *kept != digest) {
        anyhow::bail!("{}", contradiction(kept, digest));
    }
    let digest = digest.to_string();
    let task = format!("inference-{}", &digest[..32]);
    if args.json {
        let was_read = origin == Origin::Read;
        println!(
            "{}",
            serde_json::json!({ "model": digest, "task": task, "read": was_read })
        );
    } else {
        println!("model {digest}\ntask  {task}");
    }
    Ok(())
}

fn contradiction(kept: Digest, read: Digest) -> String {
    format!(
        "the digest that was kept, {kept}, is not that of the files, {read}, though nothing says that they changed: \
         check the disk; the right one is kept now"
    )
}

fn fit(args: &FitArgs) -> anyhow::Result<()> {
    let model = &args.model;
    let plan = hub::plan(&model.model, &Settings::from_env())
        .with_context(|| format!("read what {} is", model.model))?;
    let fit = Fit {
        model: model.model.to_string(),
        need: plan.need(&model.hold.options())?,
        plan,
        device: DeviceProbe::measure(model.hold.device, model.hold.threads)?,
    };
    print(args.json.then(|| fit.json()), || fit.text())?;
    anyhow::ensure!(
        fit.verdict() != Verdict::TooLarge,
        "{} does not fit {}",
        fit.model,
        fit.device.device
    );
    Ok(())
}

async fn doctor(cli: &Cli, args: &DoctorArgs) -> anyhow::Result<()> {
    let mut report = Report(doctor::machine::examine(
        &args.models,
        &args.hold.options(),
        &Settings::from_env(),
    ));
    let pair = args::read_hotkey(&args.wallet);
    if let Err(error) = &pair {
        report.0.push(doctor::Check::fail(
            "hotkey",
            format!("{error:#}"),
            "make one with `agon wallet create`, or name it with --wallet and --hotkey",
        ));
    }
    let who = doctor::network::Who {
        ledger: cli.ledger.ledger.clone(),
        pair: pair.ok(),
        netuid: args.netuid,
    };
    let found = doctor::network::examine(&who, &Net::tcp(), &Clock::system()).await;
    report.0.extend(found);
    print(args.json.then(|| report.json()), || report.text())?;
    let failures = report.count(Standing::Fail);
    anyhow::ensure!(failures == 0, "{failures} of {} checks failed", report.0.len());
    Ok(())
}

/// Prints JSON if there is any, else the text.
fn print(json: Option<serde_json::Value>, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    let report = json.map_or_else(text, |json| format!("{json}\n"));
    std::io::stdout()
        .write_all(report.as_bytes())
        .context("print the report")
}
