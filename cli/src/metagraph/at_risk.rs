//! Who is replaced next, and what stands before that.

use agon_protocol::id::Netuid;
use agon_protocol::message::{AtRiskView, UidAtRisk};
use serde_json::{Value, json};

use crate::output::{Align, Table, short, units};
use crate::session::{Session, told};

pub(super) async fn show(session: &Session, netuid: Netuid) -> anyhow::Result<()> {
    let at_risk = session.client()?.at_risk(netuid).await.map_err(told)?;
    session.show(&as_json(&at_risk), || as_text(&at_risk))
}

fn as_text(at_risk: &AtRiskView) -> String {
    let AtRiskView {
        netuid,
        height,
        free_uids,
        uids,
    } = at_risk;
    let free = match free_uids {
        0 => String::from("all UIDs are taken: the next registration replaces the first below"),
        1 => String::from("1 UID is free: nobody is replaced by the next registration"),
        free => format!("{free} UIDs are free: nobody is replaced by the next {free} registrations"),
    };
    let mut table = Table::new(&[
        ("turn", Align::Right),
        ("uid", Align::Right),
        ("hotkey", Align::Left),
        ("emission", Align::Right),
        ("registered", Align::Right),
        ("immune for", Align::Right),
        ("", Align::Left),
    ]);
    for (index, row) in uids.iter().enumerate() {
        table.row([
            (index + 1).to_string(),
            row.uid.to_string(),
            short(row.hotkey),
            units(row.emission),
            row.registered.to_string(),
            immunity(row),
            String::from(if row.judged { "" } else { "never judged yet" }),
        ]);
    }
    format!(
        "subnet {netuid} after block {height}: {free}\n{table}\n\
         lowest emission first, then the earliest registration; the immune only when too few others are left"
    )
}

fn immunity(row: &UidAtRisk) -> String {
    match (row.immune, row.immunity_left_blocks) {
        (false, _) => String::new(),
        (true, 0) => String::from("until judged"),
        (true, left) => format!("{left} blocks"),
    }
}

fn as_json(at_risk: &AtRiskView) -> Value {
    let row = |row: &UidAtRisk| {
        json!({
            "uid": row.uid.0,
            "hotkey": row.hotkey.to_string(),
            "emission": row.emission.base_units(),
            "registered": row.registered.0,
            "immune": row.immune,
            "immunity_left_blocks": row.immunity_left_blocks,
            "judged": row.judged,
        })
    };
    json!({
        "netuid": at_risk.netuid.0,
        "height": at_risk.height.0,
        "free_uids": at_risk.free_uids,
        "uids": at_risk.uids.iter().map(row).collect::<Vec<_>>(),
    })
}
