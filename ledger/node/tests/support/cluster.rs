//! Several nodes of one ledger in this process, with real peers on loopback.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use agon_ledger_node::folder::Folder;
use agon_ledger_node::keys::NodeKeys;
use agon_ledger_node::{Peer, Peers};
use agon_protocol::amount::Amount;
use agon_protocol::message::{Genesis, GenesisMember};

use super::{Client, Node, coldkey, genesis, pair};

/// What members have locked; equal, so that they have equal power.
const BOND_UNITS: u64 = 1_000;

/// A node's folder and ports, whether it runs or not.
pub(crate) struct Place {
    pub(crate) folder: Folder,
    pub(crate) ledger: SocketAddr,
    peers: SocketAddr,
    _dir: tempfile::TempDir,
}

/// A ledger of `members` nodes: none means one node that decides alone.
pub(crate) struct Cluster {
    pub(crate) genesis: Genesis,
    pub(crate) places: Vec<Place>,
    pub(crate) nodes: Vec<Option<Node>>,
}

impl Cluster {
    /// Begins a ledger in one folder for each node; nothing runs yet.
    pub(crate) fn begin(members: u8) -> Self {
        Self::begin_from(genesis(), members)
    }

    /// Begins a ledger of these balances.
    pub(crate) fn begin_from(genesis: Genesis, members: u8) -> Self {
        let places = (0..members.max(1)).map(|_| Place::new()).collect();
        Self::begin_in(genesis, places, members)
    }

    /// Begins a ledger whose members are on hosts of their own.
    pub(crate) fn begin_on(hosts: &[Ipv4Addr]) -> Self {
        let places = hosts.iter().map(|host| Place::on(*host)).collect();
        Self::begin_in(genesis(), places, hosts.len() as u8)
    }

    fn begin_in(mut genesis: Genesis, places: Vec<Place>, members: u8) -> Self {
        if members > 0 {
            genesis.committee = (0..)
                .zip(&places)
                .map(|(number, place)| place.member(number))
                .collect();
        }
        for place in &places {
            place.folder.begin(&genesis).unwrap();
        }
        let nodes = places.iter().map(|_| None).collect();
        Self {
            genesis,
            places,
            nodes,
        }
    }

    /// Begins and starts them all.
    pub(crate) async fn start(members: u8) -> Self {
        let mut cluster = Self::begin(members);
        for index in 0..cluster.places.len() {
            cluster.start_node(index).await;
        }
        cluster
    }

    pub(crate) async fn start_node(&mut self, index: usize) {
        let place = &self.places[index];
        let node = Node::try_start_with(&place.folder, place.ledger, Some(self.peers_of(index))).await;
        self.nodes[index] = Some(node.unwrap());
    }

    /// Adds a node that is no member, in an empty folder; gives its number.
    pub(crate) fn add_place(&mut self) -> usize {
        self.places.push(Place::new());
        self.nodes.push(None);
        self.places.len() - 1
    }

    pub(crate) async fn stop_node(&mut self, index: usize) {
        self.nodes[index].take().unwrap().stop().await;
    }

    /// What node `index` is told of the others.
    pub(crate) fn peers_of(&self, index: usize) -> Peers {
        let hotkey = Some(pair(100 + u8::try_from(index).unwrap()));
        let others = self
            .places
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index);
        Peers {
            listen: self.places[index].peers,
            peers: others
                .map(|(_, place)| Peer {
                    address: place.peers.to_string(),
                    ledger: format!("http://{}", place.ledger),
                })
                .collect(),
            hotkey,
        }
    }

    pub(crate) fn client(&self, index: usize) -> Client {
        Client::at(self.places[index].ledger)
    }

    /// Waits until node `index` has stored the block at `height`.
    pub(crate) async fn reached(&self, index: usize, height: u64) {
        let mut events = self.client(index).events(height).await;
        let event = tokio::time::timeout(Duration::from_secs(60), events.message()).await;
        assert_eq!(
            event.expect("no such block in a minute").unwrap().unwrap().height,
            height
        );
    }

    pub(crate) async fn stop(mut self) -> Vec<Place> {
        for node in self.nodes.iter_mut().filter_map(Option::take) {
            node.stop().await;
        }
        self.places
    }
}

impl Place {
    fn new() -> Self {
        Self::at(free_address(), free_address())
    }

    /// A place on a host where nothing else listens.
    fn on(host: Ipv4Addr) -> Self {
        Self::at((host, 9_944).into(), (host, 9_945).into())
    }

    fn at(ledger: SocketAddr, peers: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            folder: Folder::new(dir.path()),
            ledger,
            peers,
            _dir: dir,
        }
    }

    fn member(&self, number: u8) -> GenesisMember {
        GenesisMember {
            hotkey: pair(100 + number).hotkey(),
            coldkey: coldkey(number),
            consensus_key: consensus_key(self.folder.dir()),
            bond: Amount::from_units(BOND_UNITS).unwrap(),
        }
    }
}

fn consensus_key(dir: &Path) -> agon_protocol::id::ConsensusKey {
    NodeKeys::open(dir).unwrap().consensus.consensus_key()
}

/// An address that was free a moment ago: peers have to know each other's before they start.
///
/// It is on a part of the loopback that connections do not come from, so that none of them takes the port while its
/// node is away, and on another part for each process of tests.
fn free_address() -> SocketAddr {
    let [.., third, fourth] = std::process::id().to_be_bytes();
    TcpListener::bind((Ipv4Addr::new(127, 77, third, fourth), 0))
        .unwrap()
        .local_addr()
        .unwrap()
}
