//! What the machine has: libtorch, the device, memory for the models, and how fast they can be.

use agon_model::{DeviceChoice, DeviceProbe, LIBTORCH_VERSION, LoadOptions, Need, Runtime};
use agon_subnets::inference::TOKEN_MS;

use super::Check;
use crate::digests::{Digests, Facts};
use crate::fit::{Fit, Verdict, usable_bytes};
use crate::hub::name::ModelSource;
use crate::hub::settings::Settings;
use crate::hub::{self};
use crate::shelf::bytes_together;

/// Looks at the machine, and at the models if any are named. Blocks for half a second to measure the device.
#[must_use]
pub fn examine(models: &[ModelSource], options: &LoadOptions, settings: &Settings) -> Vec<Check> {
    let runtime = agon_model::start();
    let mut checks = vec![
        Check::ok("libtorch", format!("{LIBTORCH_VERSION} is loaded")),
        cuda(runtime, options.device),
    ];
    let device = match DeviceProbe::measure(options.device, options.threads) {
        Ok(device) => device,
        Err(error) => {
            checks.push(Check::fail(
                "memory",
                error.to_string(),
                "choose another --device",
            ));
            return checks;
        }
    };
    let fits: Vec<Result<Fit, Check>> = models
        .iter()
        .map(|model| fit(model, options, settings, &device))
        .collect();
    let needs: Vec<&Need> = fits.iter().flatten().map(|fit| &fit.need).collect();
    checks.push(memory(&device, &needs));
    for (source, fit) in models.iter().zip(fits) {
        match fit {
            Ok(fit) => checks.extend([model(source, &fit, settings), speed(&fit)]),
            Err(check) => checks.push(check),
        }
    }
    checks
}

fn cuda(runtime: &Runtime, wanted: DeviceChoice) -> Check {
    let absence = runtime.cuda_absence.clone().unwrap_or_default();
    match (wanted, runtime.cuda_devices) {
        (DeviceChoice::Cuda(index), count) if index >= count => Check::fail(
            "cuda",
            format!("--device cuda:{index} is asked for, libtorch sees {count} devices; {absence}"),
            "see `nvidia-smi`, then install libtorch's CUDA half with `cargo xtask setup --cuda`, or choose another --device",
        ),
        (DeviceChoice::Auto, 0) => Check::warn(
            "cuda",
            format!("none, the processor computes: {absence}"),
            "with an NVIDIA card: `cargo xtask setup --cuda`; without one: --device cpu says that this is meant",
        ),
        (DeviceChoice::Cpu, count) => {
            Check::ok("cuda", format!("not asked for; libtorch sees {count} devices"))
        }
        (_, count) => Check::ok("cuda", format!("libtorch sees {count} devices")),
    }
}

fn fit(
    source: &ModelSource,
    options: &LoadOptions,
    settings: &Settings,
    device: &DeviceProbe,
) -> Result<Fit, Check> {
    let failed = |reason: String| {
        let next = "see `agon-miner fit --help`; docs/miners.md says which models are read";
        Check::fail("model", format!("{source}: {reason}"), next)
    };
    let plan = hub::plan(source, settings);
    let plan = plan.map_err(|error| failed(agon_runtime::flags::sentence(&error)))?;
    let need = plan.need(options);
    let need = need.map_err(|error| failed(agon_runtime::flags::sentence(&error)))?;
    Ok(Fit {
        model: source.to_string(),
        plan,
        need,
        device: device.clone(),
    })
}

fn memory(device: &DeviceProbe, needs: &[&Need]) -> Check {
    let Some(free) = device.free_bytes else {
        let found = format!("{} does not say how much is free", device.device);
        return Check::warn("memory", found, "watch it while the miner loads");
    };
    let needed = bytes_together(needs);
    let found = match needs.len() {
        0 => format!("{} has {} free", device.device, gigabytes(free)),
        count => format!(
            "{} needed for {count} model(s) together, {} has {} free",
            gigabytes(needed),
            device.device,
            gigabytes(free)
        ),
    };
    if needed <= usable_bytes(free) {
        return Check::ok("memory", found);
    }
    let next = "fewer --slots, a shorter --context or fewer models; `agon-miner fit` says what fits";
    Check::fail("memory", found, next)
}

/// Whether the model alone fits, and its digest where that is known already.
fn model(source: &ModelSource, fit: &Fit, settings: &Settings) -> Check {
    let line = fit.text().lines().next().unwrap_or_default().to_owned();
    let digest = match kept_digest(source, settings) {
        Some(digest) => format!("; digest {digest}"),
        None => String::from("; its digest is not known yet, `agon-miner hash` reads it"),
    };
    match fit.verdict() {
        Verdict::Fits | Verdict::Unknown => Check::ok("model", line + &digest),
        Verdict::FewerSlots(slots) => Check::fail("model", line, format!("serve it with --slots {slots}")),
        Verdict::ShorterContext(context) => Check::fail(
            "model",
            line,
            format!("serve it with --slots 1 --context {context}"),
        ),
        Verdict::TooLarge => Check::fail("model", line, "serve a smaller model, or on a larger device"),
    }
}

fn kept_digest(source: &ModelSource, settings: &Settings) -> Option<String> {
    let dir = match source {
        ModelSource::Folder(dir) => dir.clone(),
        ModelSource::Hub(name) => settings.cache.find(name)?.1,
    };
    let facts = Facts::of(&dir).ok()?;
    Some(Digests::from_env().kept(&dir, &facts)?.to_string())
}

fn speed(fit: &Fit) -> Check {
    let (one, all) = fit.speeds();
    let found = format!(
        "{}: at most {one:.0} tokens/s for one request, {all:.0} for {} together",
        fit.model, fit.need.slots
    );
    let target = 1_000.0 / f64::from(TOKEN_MS);
    if one >= target {
        return Check::ok("speed", found);
    }
    let next = format!(
        "tasks that pay for speed pay less below {target:.0} tokens/s: a faster device or a smaller model"
    );
    Check::warn("speed", found, next)
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Standing;

    fn device(free_bytes: Option<u64>, bandwidth: f64) -> DeviceProbe {
        DeviceProbe {
            device: "cpu".to_owned(),
            free_bytes,
            total_bytes: None,
            bandwidth,
        }
    }

    fn large(device: &DeviceProbe) -> Fit {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/large");
        let options = LoadOptions {
            device: DeviceChoice::Cpu,
            ..LoadOptions::default()
        };
        fit(
            &ModelSource::Folder(folder),
            &options,
            &Settings::from_env(),
            device,
        )
        .unwrap()
    }

    #[test]
    fn cuda_is_missed_only_where_it_is_wanted() {
        let runtime = Runtime {
            cuda_devices: 0,
            cuda_absence: Some("no driver".to_owned()),
        };
        for (wanted, standing) in [
            (DeviceChoice::Cpu, Standing::Ok),
            (DeviceChoice::Auto, Standing::Warn),
            (DeviceChoice::Cuda(0), Standing::Fail),
        ] {
            assert_eq!(cuda(&runtime, wanted).standing, standing, "{wanted}");
        }
    }

    #[test]
    fn two_models_may_be_too_large_where_each_one_fits() {
        let need = large(&device(None, 1e10)).need;
        let room = device(Some(bytes_together(&[&need]) / 95 * 100 + 200), 1e10);
        assert_eq!(memory(&room, &[&need]).standing, Standing::Ok);
        assert_eq!(memory(&room, &[&need, &need]).standing, Standing::Fail);
        assert_eq!(memory(&device(None, 1e10), &[&need]).standing, Standing::Warn);
    }

    #[test]
    fn a_slow_device_is_told_of() {
        assert_eq!(speed(&large(&device(None, 1e11))).standing, Standing::Ok);
        assert_eq!(speed(&large(&device(None, 1e6))).standing, Standing::Warn);
    }

    #[test]
    fn a_model_that_is_none_does_not_hide_the_rest() {
        let folder = ModelSource::Folder("/nowhere".into());
        let checks = examine(&[folder], &LoadOptions::default(), &Settings::from_env());
        let names: Vec<_> = checks.iter().map(|check| check.name).collect();
        assert_eq!(names, ["libtorch", "cuda", "memory", "model"]);
        assert_eq!(checks[3].standing, Standing::Fail);
    }
}
