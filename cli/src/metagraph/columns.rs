//! The columns of a metagraph: their names, how they read in a table and in JSON, and how they sort.

use agon_protocol::message::{Axon, NeuronView};
use serde_json::{Map, Value, json};

use crate::output::{Align, Table, one_line, percent, percent_of_ppm, short, units, yes};

/// Digits of a model's digest that the name of a task has.
const PIN_DIGITS: usize = 32;

/// One column.
pub(super) struct Column {
    /// Its name on the command line and in JSON.
    pub(super) name: &'static str,
    /// Its head in a table.
    head: &'static str,
    align: Align,
    cell: fn(&NeuronView) -> String,
    value: fn(&NeuronView) -> Value,
    /// Whether it is shown unless others are asked for.
    usual: bool,
}

macro_rules! columns {
    ($($name:literal $head:literal $align:ident $usual:literal: $cell:expr, $value:expr;)*) => {
        /// Every column, in the order in which they are shown.
        pub(super) const COLUMNS: &[Column] = &[$(Column {
            name: $name,
            head: $head,
            align: Align::$align,
            cell: $cell,
            value: $value,
            usual: $usual,
        }),*];
    };
}

columns! {
    "uid" "uid" Right true: |it| it.uid.to_string(), |it| json!(it.uid.0);
    "hotkey" "hotkey" Left true: |it| short(it.hotkey), |it| json!(it.hotkey.to_string());
    "coldkey" "coldkey" Left false: |it| short(it.coldkey), |it| json!(it.coldkey.to_string());
    "axon" "axon" Left true:
        |it| it.axon.as_ref().map_or_else(String::new, |axon| axon.socket_addr().to_string()),
        |it| it.axon.as_ref().map_or(Value::Null, |axon| axon_json(it, axon));
    "model" "model" Left true:
        |it| it.axon.as_ref().map_or_else(String::new, |axon| one_line(&model_names(axon), 20)),
        |it| json!(it.axon.as_ref().map(model_names));
    "models" "models" Left false:
        |it| it.axon.as_ref().map_or_else(String::new, model_pins),
        |it| json!(it.axon.as_ref().map(models_json));
    "at_once" "at once" Right false:
        |it| it.axon.as_ref().map_or_else(String::new, |axon| axon.at_once.to_string()),
        |it| json!(it.axon.as_ref().map(|axon| axon.at_once));
    "stake" "stake" Right true: |it| units(it.stake), |it| json!(it.stake.base_units());
    "permit" "permit" Left true: |it| yes(it.permit), |it| json!(it.permit);
    "active" "active" Left true: |it| yes(it.active), |it| json!(it.active);
    "registered" "registered" Right false: |it| it.registered.to_string(), |it| json!(it.registered.0);
    "last_update" "updated" Right true: |it| it.last_update.to_string(), |it| json!(it.last_update.0);
    "consensus" "consensus %" Right true: |it| percent(it.consensus), |it| json!(it.consensus);
    "incentive" "incentive %" Right true: |it| percent(it.incentive), |it| json!(it.incentive);
    "validator_trust" "v.trust %" Right true: |it| percent(it.validator_trust), |it| json!(it.validator_trust);
    "dividends" "dividends %" Right true: |it| percent(it.dividends), |it| json!(it.dividends);
    "coverage_ppm" "coverage %" Right true: |it| percent_of_ppm(it.coverage_ppm), |it| json!(it.coverage_ppm);
    "emission" "emission" Right true: |it| units(it.emission), |it| json!(it.emission.base_units());
    "earned" "earned" Right true: |it| units(it.earned), |it| json!(it.earned.base_units());
}

fn axon_json(neuron: &NeuronView, axon: &Axon) -> Value {
    json!({
        "address": axon.socket_addr().to_string(),
        "protocol": axon.protocol,
        "at_once": axon.at_once,
        "models": models_json(axon),
        "height": neuron.axon_height.0,
    })
}

fn models_json(axon: &Axon) -> Value {
    let models = axon.models.iter();
    models
        .map(|model| json!({ "digest": model.digest.to_string(), "name": model.name }))
        .collect()
}

/// The names of all models, the default first.
fn model_names(axon: &Axon) -> String {
    let names: Vec<&str> = axon.models.iter().map(|model| model.name.as_str()).collect();
    names.join(", ")
}

/// The digests of all models, the default first, as far as the names of tasks show them.
fn model_pins(axon: &Axon) -> String {
    let pins = axon.models.iter().map(|model| {
        let digest = model.digest.to_string();
        digest.chars().take(PIN_DIGITS).collect::<String>()
    });
    pins.collect::<Vec<_>>().join(" ")
}

/// The columns of these names, or the usual ones for none.
pub(super) fn chosen(names: &[String]) -> Vec<&'static Column> {
    if names.is_empty() {
        return COLUMNS.iter().filter(|column| column.usual).collect();
    }
    names.iter().filter_map(|name| of_name(name)).collect()
}

/// The column of a name.
pub(super) fn of_name(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|column| column.name == name)
}

/// Rows for people.
pub(super) fn table(columns: &[&Column], neurons: &[NeuronView]) -> Table {
    let heads: Vec<(&'static str, Align)> =
        columns.iter().map(|column| (column.head, column.align)).collect();
    let mut table = Table::new(&heads);
    for neuron in neurons {
        table.cells(columns.iter().map(|column| (column.cell)(neuron)).collect());
    }
    table
}

/// A row for programs; without names every column but those that repeat another.
pub(super) fn row(names: &[String], neuron: &NeuronView) -> Value {
    let is_asked = |column: &&Column| match names.is_empty() {
        true => !["model", "models"].contains(&column.name),
        false => names.iter().any(|name| name == column.name),
    };
    let fields = COLUMNS.iter().filter(is_asked);
    let fields = fields.map(|column| (column.name.to_owned(), (column.value)(neuron)));
    Value::Object(fields.collect::<Map<String, Value>>())
}

/// Puts rows in the order of a column: keys and names from A, heights and UIDs from the lowest, everything else from
/// the largest; rows that are equal in it by UID.
pub(super) fn sort(neurons: &mut [NeuronView], column: &Column, is_reversed: bool) {
    let from_lowest = ["uid", "registered", "last_update"].contains(&column.name);
    neurons.sort_by(|a, b| {
        let (x, y) = ((column.value)(a), (column.value)(b));
        let order = match (number(&x), number(&y)) {
            (Some(x), Some(y)) if from_lowest => x.cmp(&y),
            (Some(x), Some(y)) => y.cmp(&x),
            _ => x.to_string().cmp(&y.to_string()),
        };
        let order = if is_reversed { order.reverse() } else { order };
        order.then(a.uid.cmp(&b.uid))
    });
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or(value.as_bool().map(u64::from))
}

#[cfg(test)]
mod tests {
    use agon_protocol::amount::Amount;
    use agon_protocol::id::{BlockNumber, Coldkey, Hotkey, Uid};

    use super::*;

    fn neuron(uid: u16, stake: u64) -> NeuronView {
        NeuronView {
            uid: Uid(uid),
            hotkey: Hotkey([9 - uid as u8; 32]),
            coldkey: Coldkey([7; 32]),
            axon: None,
            axon_height: BlockNumber(0),
            stake: Amount::from_base_units(stake),
            permit: uid == 1,
            active: false,
            registered: BlockNumber(5),
            last_update: BlockNumber(u64::from(uid)),
            consensus: 0,
            incentive: 0,
            validator_trust: 0,
            dividends: 0,
            coverage_ppm: 0,
            emission: Amount::ZERO,
            earned: Amount::ZERO,
        }
    }

    #[track_caller]
    fn check_order(column: &str, is_reversed: bool, expected: [u16; 3]) {
        let mut neurons = [neuron(0, 5), neuron(1, 9), neuron(2, 5)];
        sort(&mut neurons, of_name(column).unwrap(), is_reversed);
        assert_eq!(neurons.map(|neuron| neuron.uid.0), expected, "{column}");
    }

    #[test]
    fn rows_sort_by_what_a_reader_looks_for_first() {
        check_order("stake", false, [1, 0, 2]);
        check_order("stake", true, [0, 2, 1]);
        check_order("uid", true, [2, 1, 0]);
        check_order("last_update", false, [0, 1, 2]);
        check_order("hotkey", false, [2, 1, 0]);
        check_order("permit", false, [1, 0, 2]);
    }

    #[test]
    fn asked_for_columns_come_in_the_order_asked_for() {
        let names = ["stake".to_owned(), "uid".to_owned()];
        let text = table(&chosen(&names), &[neuron(1, 1_000_000_000)]).to_string();
        assert_eq!(text, "stake  uid\n1.000    1");
        assert_eq!(row(&names, &neuron(1, 3)), json!({ "uid": 1, "stake": 3 }));
        assert_eq!(
            row(&[], &neuron(1, 3)).as_object().map(Map::len),
            Some(COLUMNS.len() - 2)
        );
    }
}
