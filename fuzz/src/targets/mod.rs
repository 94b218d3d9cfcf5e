//! What is fuzzed, and what has to hold.
//!
//! | file | targets |
//! | --- | --- |
//! | `canonical` | messages, blocks, votes, the genesis: what is hashed or signed |
//! | `proofs` | proofs of keys and rows, headers of a light client |
//! | `files` | framed logs, exports, key files, wallets |
//! | `wire` | gRPC messages as they become working types |
//! | `text` | addresses, amounts, mnemonics, calls and epochs as JSON |
//! | `ledger` | the rules, over any sequence of transactions; states from a store |
//! | `session` | certificates of sessions |
//! | `seal` | pulses of a beacon, and weights sealed to them |
//! | `sample` | a small ledger that seeds are made of |

mod canonical;
mod files;
mod ledger;
mod proofs;
mod sample;
mod seal;
mod session;
mod text;
mod wire;

/// Something that takes bytes from outside.
#[derive(Debug)]
pub struct Target {
    /// What it is called, and its folder in the corpus.
    pub name: &'static str,
    /// What it does with an input, in one line.
    pub about: &'static str,
    /// Most bytes of an input that mutations make.
    pub bytes_max: usize,
    /// How many mutations the ordinary tests try: about a second's worth.
    pub quick_runs: u32,
    /// Inputs to begin with, made by the code itself, so that they follow every change of a format.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Takes an input; panics where something does not hold.
    pub run: fn(&[u8]),
}

/// Every target, by name.
pub const TARGETS: &[Target] = &[
    Target {
        name: "axons_and_weights",
        about: "serve_axon and reveal_weights calls, whose limits are checked beside borsh",
        bytes_max: 2_048,
        quick_runs: 4_000,
        seeds: canonical::payload_seeds,
        run: canonical::transaction,
    },
    Target {
        name: "block",
        about: "a final block: decoded, hashed, encoded again, followed by a ledger",
        bytes_max: 8_192,
        quick_runs: 1_000,
        seeds: canonical::block_seeds,
        run: canonical::block,
    },
    Target {
        name: "call_json",
        about: "a call as JSON: read, written, read again",
        bytes_max: 2_048,
        quick_runs: 4_000,
        seeds: text::call_seeds,
        run: text::call_json,
    },
    Target {
        name: "certificate",
        about: "a certificate against its committee: no other bytes have its power",
        bytes_max: 1_024,
        quick_runs: 500,
        seeds: canonical::certificate_seeds,
        run: canonical::certificate,
    },
    Target {
        name: "challenge",
        about: "a validator's challenge",
        bytes_max: 2_048,
        quick_runs: 4_000,
        seeds: canonical::challenge_seeds,
        run: canonical::challenge,
    },
    Target {
        name: "committee",
        about: "a committee: what passes its check has a quorum and an order",
        bytes_max: 2_048,
        quick_runs: 4_000,
        seeds: canonical::committee_seeds,
        run: canonical::committee,
    },
    Target {
        name: "epoch_json",
        about: "epoch inputs as JSON, run where they fit together",
        bytes_max: 4_096,
        quick_runs: 1_000,
        seeds: text::epoch_seeds,
        run: text::epoch_json,
    },
    Target {
        name: "equivocation",
        about: "two votes of one member",
        bytes_max: 1_024,
        quick_runs: 500,
        seeds: canonical::equivocation_seeds,
        run: canonical::equivocation,
    },
    Target {
        name: "export",
        about: "the file of an export, byte by byte: read to its end, audited",
        bytes_max: 16_384,
        quick_runs: 500,
        seeds: files::export_seeds,
        run: files::export,
    },
    Target {
        name: "export_records",
        about: "the records of an export, with checksums made right again, as a liar's are",
        bytes_max: 16_384,
        quick_runs: 300,
        seeds: files::record_seeds,
        run: files::export_records,
    },
    Target {
        name: "framed_log",
        about: "a framed log: opened, cut, appended to, read again",
        bytes_max: 4_096,
        quick_runs: 1_000,
        seeds: files::log_seeds,
        run: files::framed_log,
    },
    Target {
        name: "genesis",
        about: "a genesis: what is taken makes a state whose sums are right",
        bytes_max: 2_048,
        quick_runs: 500,
        seeds: canonical::genesis_seeds,
        run: canonical::genesis,
    },
    Target {
        name: "key_file",
        about: "a key file of another wallet; those under a password are not opened",
        bytes_max: 2_048,
        quick_runs: 500,
        seeds: files::key_file_seeds,
        run: files::key_file,
    },
    Target {
        name: "ledger",
        about: "any sequence of transactions: sums, UIDs, permits, replay, snapshots",
        bytes_max: 1_024,
        quick_runs: 25,
        seeds: ledger::seeds,
        run: ledger::run,
    },
    Target {
        name: "light_headers",
        about: "headers that a light client follows",
        bytes_max: 4_096,
        quick_runs: 500,
        seeds: proofs::header_seeds,
        run: proofs::light_headers,
    },
    Target {
        name: "receipt",
        about: "a miner's receipt",
        bytes_max: 1_024,
        quick_runs: 4_000,
        seeds: canonical::receipt_seeds,
        run: canonical::receipt,
    },
    Target {
        name: "row_proof",
        about: "proofs of a row: they show what the state has, or nothing",
        bytes_max: 8_192,
        quick_runs: 1_000,
        seeds: proofs::row_seeds,
        run: proofs::row_proof,
    },
    Target {
        name: "seal",
        about: "weights sealed to a pulse, and pulses: nothing but the round's opens them",
        bytes_max: 1_024,
        quick_runs: 100,
        seeds: seal::seal_seeds,
        run: seal::seal,
    },
    Target {
        name: "session",
        about: "a certificate of a session: none holds but those that members made",
        bytes_max: 512,
        quick_runs: 1_000,
        seeds: session::session_seeds,
        run: session::session,
    },
    Target {
        name: "state_entries",
        about: "a state from a store: refused, or one whose sums and references are right",
        bytes_max: 16_384,
        quick_runs: 200,
        seeds: ledger::entry_seeds,
        run: ledger::entries,
    },
    Target {
        name: "state_proof",
        about: "a proof of keys: it shows what the state has, or nothing",
        bytes_max: 4_096,
        quick_runs: 2_000,
        seeds: proofs::key_seeds,
        run: proofs::state_proof,
    },
    Target {
        name: "text",
        about: "addresses, amounts, digests, signatures, mnemonics, secret URIs",
        bytes_max: 256,
        quick_runs: 500,
        seeds: text::text_seeds,
        run: text::text,
    },
    Target {
        name: "transaction",
        about: "a transaction: decoded, checked, encoded again, shown as JSON",
        bytes_max: 2_048,
        quick_runs: 4_000,
        seeds: canonical::transaction_seeds,
        run: canonical::transaction,
    },
    Target {
        name: "wallet",
        about: "the files of a wallet of our own; nothing under a password is opened",
        bytes_max: 2_048,
        quick_runs: 500,
        seeds: files::wallet_seeds,
        run: files::wallet,
    },
    Target {
        name: "wire",
        about: "gRPC messages: protobuf to working types and back",
        bytes_max: 4_096,
        quick_runs: 4_000,
        seeds: wire::seeds,
        run: wire::run,
    },
];

/// The target of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Takes bytes as numbers, in the order in which they come; zeros behind the end.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take<const LEN: usize>(&mut self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let len = LEN.min(self.0.len());
        let (taken, rest) = self.0.split_at(len);
        bytes[..len].copy_from_slice(taken);
        self.0 = rest;
        bytes
    }

    fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    /// A number below `bound`, which is above 0.
    fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }
}
