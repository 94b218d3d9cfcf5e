//! `agon-miner`: loads a model, then serves it.

use std::process::ExitCode;

use agon_miner::args::{Cli, Command, HashArgs, ModelArgs, ServeArgs};
use agon_miner::backend::ModelBackend;
use agon_miner::{World, check, run};
use agon_model::{Engine, LoadOptions, LoadProgress};
use agon_runtime::clock::Clock;
use agon_runtime::flags::ExitWith;
use agon_runtime::net::Net;
use agon_runtime::shutdown::Shutdown;
use agon_runtime::{flags, telemetry};
use anyhow::Context;
use clap::Parser;
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
    // What can be refused is refused before a large model is read.
    check(&config, &world.net).await.map_err(ExitWith::from)?;
    let backend = load(&args.model)?;
    run(config, backend, world, shutdown, |_| ())
        .await
        .map_err(ExitWith::from)?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the digest is the product of the command")]
fn hash(args: &HashArgs) -> anyhow::Result<()> {
    let digest =
        agon_model::digest_of(&args.model).with_context(|| format!("read model {}", args.model.display()))?;
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let task = format!("inference-{}", &digest[..32]);
    if args.json {
        println!("{}", serde_json::json!({ "model": digest, "task": task }));
    } else {
        println!("model {digest}\ntask  {task}");
    }
    Ok(())
}

fn load(args: &ModelArgs) -> anyhow::Result<ModelBackend> {
    let options = LoadOptions {
        device: args.device,
        dtype: args.dtype,
        slots: args.slots,
        context_tokens_max: args.context,
        queue_max: args.queue,
        threads: args.threads,
    };
    let engine = Engine::load(&args.model, &options, tell_tenths())
        .with_context(|| format!("load model {}", args.model.display()))?;
    Ok(ModelBackend::new(engine))
}

/// Tells how much is loaded, ten times in all however often it is called.
fn tell_tenths() -> impl FnMut(LoadProgress) {
    let mut told = 0;
    move |LoadProgress {
              bytes_done,
              bytes_total,
          }| {
        let percent = bytes_done
            .saturating_mul(100)
            .checked_div(bytes_total)
            .unwrap_or(100);
        if percent / 10 > told {
            told = percent / 10;
            info!(percent, bytes_total, "loading the model");
        }
    }
}
