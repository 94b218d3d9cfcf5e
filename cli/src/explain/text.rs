//! An explanation for people: percentages and whole units, every sum with its parts.

use agon_protocol::amount::Amount;

use super::figures::{Emission, Explanation, MinerPath, Portion, ValidatorPath};
use crate::output::{Align, Table, percent_of_ppm, short};

/// The whole explanation.
pub(super) fn text(it: &Explanation) -> String {
    let mut parts = vec![head(it), emission(&it.emission)];
    // A validator that nobody took for a miner has no pay as one to explain.
    let is_miner = it.miner.portion.amount > 0 || it.miner.granted_q32 > 0 || !it.permit;
    parts.extend(is_miner.then(|| miner(it)));
    parts.extend(it.validator.as_ref().map(|path| validator(it, path)));
    parts.push(foot(it));
    parts.join("\n\n")
}

fn head(it: &Explanation) -> String {
    let owner = if it.is_owner { ", the subnet's owner" } else { "" };
    format!(
        "UID {} of subnet {}, epoch of tempo {}: blocks {} to {}\nhotkey  {}\ncoldkey {}{owner}",
        it.uid, it.netuid, it.tempo, it.tempo_start, it.height, it.hotkey, it.coldkey
    )
}

fn emission(it: &Emission) -> String {
    let mut table = Table::new(&[("Emission of the tempo", Align::Left), ("", Align::Right)]);
    let mut row = |name: &str, base_units: u64| table.row([name.to_owned(), exact(base_units)]);
    row("created", it.created);
    row("held from before", it.held_before);
    row("= the owner's cut", it.owner_cut);
    row("+ the miners' half", it.miners_half);
    row("     paid", it.miners_paid);
    row("     burned: the owner's own", it.miners_burned);
    row("     burned: too little for an account", it.miners_dust);
    row("     held: no miner earned", it.miners_held);
    row("+ the validators' half", it.validators_half);
    row("     paid", it.validators_paid);
    row("     burned: too little for an account", it.validators_dust);
    row(
        "     held: no validator earned and showed evidence",
        it.validators_held,
    );
    table.to_string()
}

fn miner(it: &Explanation) -> String {
    let path = &it.miner;
    let head = format!("As a miner\n{}", voices(path));
    if path.granted_to_all_q32 == 0 {
        return format!("{head}\nnobody's weights counted in this epoch, so the miners' half is held");
    }
    format!(
        "{head}\nconsensus {} %: the largest weight that {} % of stake gives at least; what is above is clipped\n\
         incentive {} %: {} of the {} that all miners were granted\n{}{}",
        hundredths(path.consensus_q32),
        percent_of_u16(path.kappa),
        hundredths(path.incentive_q32),
        hundredths(path.granted_q32),
        hundredths(path.granted_to_all_q32),
        portion("miners'", &path.portion),
        match (path.burned, path.dust) {
            (0, 0) => "",
            (0, _) => "\nburned, since the coldkey's balance would have been too small to exist with it",
            _ => "\nburned, since the subnet's owner holds this UID",
        }
    )
}

fn voices(path: &MinerPath) -> Table {
    let mut table = Table::new(&[
        ("validator", Align::Right),
        ("hotkey", Align::Left),
        ("stake %", Align::Right),
        ("weight", Align::Right),
        ("of its row %", Align::Right),
        ("clipped %", Align::Right),
        ("granted %", Align::Right),
        ("", Align::Left),
    ]);
    for voice in &path.voices {
        table.row([
            voice.uid.to_string(),
            short(&voice.hotkey),
            hundredths(voice.stake_q32),
            voice.weight.to_string(),
            hundredths(voice.weight_q32),
            hundredths(voice.clipped_q32),
            hundredths(voice.granted_q32),
            voice.silent.unwrap_or_default().to_owned(),
        ]);
    }
    let nothing = String::new;
    table.row([
        "sum".to_owned(),
        nothing(),
        hundredths(path.voices.iter().map(|voice| voice.stake_q32).sum()),
        nothing(),
        nothing(),
        nothing(),
        hundredths(path.granted_q32),
        nothing(),
    ]);
    table
}

fn validator(it: &Explanation, path: &ValidatorPath) -> String {
    let head = format!("As a validator, with stake {}", exact(it.stake));
    if path.by_stake {
        return format!(
            "{head}\nnobody's weights counted, so the validators' half is shared by stake\n{}\n{}\n{}",
            coverage(path),
            portion("validators'", &path.portion),
            take(path),
        );
    }
    format!(
        "{head}\n{}\nvalidator trust {} %: what clipping left of its own row\n\
         dividends {} %: its claims times its {} % of stake are {} of the {} of all validators\n{}\n{}\n{}",
        bonds(path),
        hundredths(path.validator_trust_q32),
        hundredths(path.dividends_q32),
        hundredths(path.stake_q32),
        hundredths(path.weighed_q32),
        hundredths(path.weighed_of_all_q32),
        coverage(path),
        portion("validators'", &path.portion),
        take(path),
    )
}

fn coverage(path: &ValidatorPath) -> String {
    format!(
        "coverage {} %: what its evidence of the tempo before proves of its work, which leaves {} of the {} granted",
        percent_of_ppm(path.coverage_ppm),
        exact(path.portion.earned),
        exact(path.uncovered),
    )
}

fn take(path: &ValidatorPath) -> String {
    let rest = path.portion.amount.saturating_sub(path.take);
    format!(
        "of that the coldkey's take {}, its stakers {}",
        exact(path.take),
        exact(rest)
    )
}

fn bonds(path: &ValidatorPath) -> Table {
    let mut table = Table::new(&[
        ("miner", Align::Right),
        ("hotkey", Align::Left),
        ("old bond %", Align::Right),
        ("weight %", Align::Right),
        ("new bond %", Align::Right),
        ("of all bonds %", Align::Right),
        ("incentive %", Align::Right),
        ("claim %", Align::Right),
    ]);
    for bond in &path.bonds {
        table.row([
            bond.uid.to_string(),
            short(&bond.hotkey),
            hundredths(bond.old_q32),
            hundredths(bond.weight_q32),
            hundredths(bond.bond_q32),
            hundredths(bond.share_q32),
            hundredths(bond.incentive_q32),
            hundredths(bond.claim_q32),
        ]);
    }
    let nothing = String::new;
    table.row([
        "sum".to_owned(),
        nothing(),
        nothing(),
        nothing(),
        nothing(),
        nothing(),
        nothing(),
        hundredths(path.claims_q32),
    ]);
    table
}

fn portion(whose: &str, it: &Portion) -> String {
    let rounded = match it.rounded_up {
        true => "rounded up, as one of the largest remainders",
        false => "rounded down",
    };
    format!(
        "{} = {} (the {whose} half) x {} / {} earned, {rounded}",
        exact(it.amount),
        exact(it.half),
        exact(it.earned),
        exact(it.earned_by_all),
    )
}

fn foot(it: &Explanation) -> String {
    let recomputed = match &it.recomputed.difference {
        None => "equal: every figure follows from the inputs that the ledger keeps",
        Some(difference) => difference,
    };
    format!("paid {} in all\nrecomputed: {recomputed}", exact(it.paid))
}

fn exact(base_units: u64) -> String {
    Amount::from_base_units(base_units).to_string()
}

fn percent_of_u16(parts: u16) -> String {
    format!("{:.2}", f64::from(parts) * 100.0 / f64::from(u16::MAX))
}

fn hundredths(q32: i64) -> String {
    format!("{:.4}", q32 as f64 * 100.0 / 2f64.powi(32))
}
