//! `agon-miner`: loads a model, then serves it.

use std::io::Write;
use std::process::ExitCode;

use agon_miner::args::{Cli, Command, FitArgs, HashArgs, ModelArgs, ServeArgs};
use agon_miner::backend::ModelBackend;
use agon_miner::fit::{Fit, Verdict};
use agon_miner::hub::{self, Found, settings::Settings};
use agon_miner::{World, check, run};
use agon_model::{DeviceProbe, Engine};
use agon_runtime::clock::Clock;
use agon_runtime::flags::ExitWith;
use agon_runtime::net::Net;
use agon_runtime::shutdown::Shutdown;
use agon_runtime::{flags, telemetry};
use anyhow::Context;
use clap::Parser;
use tokio::sync::oneshot;
use tracing::info;

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
    }
}

async fn serve(cli: &Cli, args: &ServeArgs) -> anyhow::Result<()> {
    args.miner.child.apply()?;
    let config = args.miner.config(&cli.ledger)?;
    let shutdown = Shutdown::on_signals()?;
    if let Some(addr) = args.miner.metrics.metrics_addr {
        telemetry::serve_metrics(addr, &shutdown).await?;
    }
    let world = World {
        clock: Clock::system(),
        net: Net::tcp(),
    };
    // What can be refused is refused before a large model is fetched or read.
    check(&config, &world.net).await.map_err(ExitWith::from)?;
    let found = tokio::select! {
        found = find(&args.model) => found?,
        () = shutdown.requested() => anyhow::bail!("stopped while the model was fetched; what came is kept"),
    };
    let backend = load(&args.model, found)?;
    run(config, backend, world, shutdown, |_| ())
        .await
        .map_err(ExitWith::from)?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the digest is the product of the command")]
fn hash(args: &HashArgs) -> anyhow::Result<()> {
    let mut tell = tell_tenths("fetching the model");
    let found = hub::find_or_fetch(&args.model, &Settings::from_env(), |progress| {
        tell(progress.bytes_done, progress.bytes_total);
    });
    let dir = found.with_context(|| format!("find model {}", args.model))?.dir;
    let digest = agon_model::digest_of(&dir).with_context(|| format!("read model {}", args.model))?;
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let task = format!("inference-{}", &digest[..32]);
    if args.json {
        println!("{}", serde_json::json!({ "model": digest, "task": task }));
    } else {
        println!("model {digest}\ntask  {task}");
    }
    Ok(())
}

/// Finds or fetches the model on a thread of its own, which ends with the process when nobody waits any more.
async fn find(args: &ModelArgs) -> anyhow::Result<Found> {
    let source = args.model.clone();
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name("agon-hub".to_owned())
        .spawn(move || {
            let mut tell = tell_tenths("fetching the model");
            let found = hub::find_or_fetch(&source, &Settings::from_env(), |progress| {
                tell(progress.bytes_done, progress.bytes_total);
            });
            // Nobody waits when the process is about to end.
            let _ = sender.send(found);
        })
        .context("start the thread that fetches models")?;
    let found = receiver.await.context("fetch the model")?;
    found.with_context(|| format!("find model {}", args.model))
}

fn load(args: &ModelArgs, found: Found) -> anyhow::Result<ModelBackend> {
    let mut tell = tell_tenths("loading the model");
    let engine = Engine::load(&found.dir, &args.options(), |progress| {
        tell(progress.bytes_done, progress.bytes_total);
    })
    .with_context(|| format!("load model {}", args.model))?;
    let backend = ModelBackend::new(engine);
    Ok(match found.name {
        Some(name) => backend.with_name(name),
        None => backend,
    })
}

fn fit(args: &FitArgs) -> anyhow::Result<()> {
    let model = &args.model;
    let plan = hub::plan(&model.model, &Settings::from_env())
        .with_context(|| format!("read what {} is", model.model))?;
    let fit = Fit {
        model: model.model.to_string(),
        need: plan.need(&model.options())?,
        plan,
        device: DeviceProbe::measure(model.device, model.threads)?,
    };
    let report = if args.json {
        format!("{}\n", fit.json())
    } else {
        fit.text()
    };
    std::io::stdout()
        .write_all(report.as_bytes())
        .context("print the report")?;
    anyhow::ensure!(
        fit.verdict() != Verdict::TooLarge,
        "{} does not fit {}",
        fit.model,
        fit.device.device
    );
    Ok(())
}

/// Tells how much is done, ten times in all however often it is called.
fn tell_tenths(doing: &'static str) -> impl FnMut(u64, u64) {
    let mut told = 0;
    move |bytes_done, bytes_total| {
        let percent = bytes_done
            .saturating_mul(100)
            .checked_div(bytes_total)
            .unwrap_or(100);
        if percent / 10 > told {
            told = percent / 10;
            info!(percent, bytes_total, "{doing}");
        }
    }
}
