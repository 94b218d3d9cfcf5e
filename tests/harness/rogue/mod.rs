//! Validators that break the rules, made of the pieces of honest ones: for `agon localnet --with` and the end-to-end
//! suite.
//!
//! | module | plays |
//! | --- | --- |
//! | [`copy`] | does no work and gives the weights that others revealed |
//! | [`collude`] | judges the answers of its friends as perfect, and says so in its evidence |
//!
//! They keep nothing over a restart, and go on after any refusal: whoever cheats does not stop at the first one.

pub mod collude;
pub mod copy;

use agon_ledger_client::follow::{Follower, View, Views};
use agon_ledger_client::{ClientError, LedgerClient};
use agon_protocol::id::{Digest, Uid};
use agon_protocol::message::{Call, NeuronView};
use agon_runtime::shutdown::Shutdown;
use agon_validator::commit::{self, Due, Pending, Progress, Rules};
use agon_validator::state::State;
use agon_validator::{Config, World};
use tracing::{info, warn};

/// What a rogue acts with: its keys, the ledger, and the weights that are under way.
#[derive(Debug)]
pub struct Desk {
    config: Config,
    world: World,
    client: LedgerClient,
    genesis: Digest,
    state: State,
}

impl Desk {
    /// Reads the ledger's name.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the ledger does not answer.
    pub async fn open(config: Config, world: World) -> Result<Self, ClientError> {
        let client = LedgerClient::new(&world.net, &config.ledger)?;
        let genesis = client.head().await?.genesis;
        Ok(Self {
            config,
            world,
            client,
            genesis,
            state: State::default(),
        })
    }

    /// Follows the subnet until shutdown, and gives where its views appear.
    #[must_use]
    pub fn follow(&self, shutdown: &Shutdown) -> Views {
        let follower = Follower::new(self.client.clone(), self.config.netuid);
        let views = follower.views();
        tokio::spawn(follower.run(shutdown.clone()));
        views
    }

    /// Takes note of the view's tempo, and gives our own neuron when it holds a permit.
    fn enter(&mut self, view: &View) -> Option<NeuronView> {
        let tempo = view.subnet.tempo;
        self.state.meet(&view.metagraph);
        self.state.enter(tempo, 0);
        commit::drop_expired(&mut self.state.pending, &Rules::of(&view.subnet), tempo);
        commit::drop_settled(&mut self.state.owed, tempo);
        let neuron = view.metagraph.by_hotkey(&self.config.pair.hotkey())?;
        neuron.permit.then(|| neuron.clone())
    }

    /// The step of weights that is due.
    fn due(&self, view: &View) -> Due {
        let blocks_left = view.subnet.next_epoch.0.saturating_sub(view.height.0);
        let rules = Rules::of(&view.subnet);
        commit::due(&self.state.pending, &rules, view.subnet.tempo, blocks_left)
    }

    /// Whether weights of the tempo were made.
    fn has_weighed(&self, tempo: u64) -> bool {
        let mut pending = self.state.pending.iter();
        pending.any(|pending| pending.weights.tempo == tempo)
    }

    /// Commits `row` as the weights of the running tempo, or shows it where nothing is committed.
    async fn weigh(&mut self, view: &View, row: &[(Uid, u16)]) {
        let pairs: Vec<(u16, u16)> = row.iter().map(|(uid, weight)| (uid.0, *weight)).collect();
        let version = commit::version(&view.subnet, &Rules::of(&view.subnet));
        let weights = commit::row(view.subnet.tempo, &pairs, self.world.entropy.bytes32(), version);
        self.state.pending.push(Pending {
            weights,
            progress: Progress::Made,
            tries: 0,
        });
        let index = self.state.pending.len() - 1;
        let due = match Rules::of(&view.subnet).commit_reveal {
            true => Due::Commit(index),
            false => Due::Reveal(index),
        };
        self.settle(due).await;
    }

    /// Submits the commit or the reveal that is due.
    async fn settle(&mut self, due: Due) {
        let netuid = self.config.netuid;
        let hotkey = self.config.pair.hotkey();
        let weights = |index: usize| &self.state.pending[index].weights;
        let (index, call, done) = match due {
            Due::Nothing | Due::Weigh => return,
            Due::Commit(index) => {
                let commit = weights(index).commit(netuid, hotkey);
                (index, Call::CommitWeights { netuid, commit }, Progress::Committed)
            }
            Due::Reveal(index) => {
                let weights = weights(index).clone();
                (index, Call::RevealWeights { netuid, weights }, Progress::Shown)
            }
        };
        let tempo = weights(index).tempo;
        if self.send(call, tempo).await {
            self.state.pending[index].progress = done;
        }
    }

    /// Sends a call about `tempo`; whether the ledger took it.
    async fn send(&self, call: Call, tempo: u64) -> bool {
        let name = call.name();
        let sent = self.client.send(&self.config.pair, call).await;
        match &sent {
            Ok(included) => info!(tempo, call = name, height = %included.height, "taken"),
            Err(error) => warn!(tempo, call = name, %error, "not taken"),
        }
        sent.is_ok()
    }
}

/// The next view, or `None` when it is time to end.
async fn next(views: &mut Views, shutdown: &Shutdown) -> Option<View> {
    loop {
        tokio::select! {
            biased;
            () = shutdown.requested() => return None,
            alive = views.changed() => alive.ok()?,
        }
        let view = views.borrow_and_update().clone();
        if view.is_some() {
            return view;
        }
    }
}
