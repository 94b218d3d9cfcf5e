//! Members on hosts of their own: network namespaces with an address each, joined by a bridge.
//!
//! A line that is cut here takes everything with it, as a pulled cable does: connections to the member and from it, and
//! whatever is under way. It needs the rights to make namespaces, and says so where there are none.

use std::net::Ipv4Addr;
use std::process::Command;

use crate::fleet::{Fleet, MEMBERS};
use crate::kills::some_load;
use crate::{below, random, runs};

/// The first three bytes of all addresses: of a network that is meant for tests.
const NETWORK: [u8; 3] = [198, 18, 77];
/// Last byte of this process's own address.
const OURS: u8 = 254;
/// Acknowledgements without the member that is away.
const WITHOUT: u64 = 30;

/// Hosts that exist until this is dropped.
pub(crate) struct Hosts {
    pub(crate) addresses: Vec<Ipv4Addr>,
    prefix: String,
}

impl Hosts {
    /// That many hosts and a line from each to all others and to this process; `None` where that is not allowed.
    pub(crate) fn new(count: u8) -> Option<Self> {
        let [a, b, c] = NETWORK;
        let hosts = Self {
            addresses: (1..=count).map(|number| Ipv4Addr::new(a, b, c, number)).collect(),
            prefix: format!("ag{}", std::process::id()),
        };
        hosts.connect().then_some(hosts)
    }

    fn connect(&self) -> bool {
        let (switch, ours) = (self.switch(), self.ours());
        let [a, b, c] = NETWORK;
        let mut done = ip(&format!("netns add {switch}"))
            && ip(&format!("-n {switch} link add br0 type bridge"))
            && ip(&format!("-n {switch} link set br0 up"))
            && ip(&format!(
                "link add {ours} type veth peer name ours netns {switch}"
            ))
            && ip(&format!("-n {switch} link set ours master br0 up"))
            && ip(&format!("addr add {a}.{b}.{c}.{OURS}/24 dev {ours}"))
            && ip(&format!("link set {ours} up"));
        for (index, address) in self.addresses.iter().enumerate() {
            let host = self.host(index);
            done = done
                && ip(&format!("netns add {host}"))
                && ip(&format!(
                    "link add eth0 netns {host} type veth peer name v{index} netns {switch}"
                ))
                && ip(&format!("-n {switch} link set v{index} master br0 up"))
                && ip(&format!("-n {host} addr add {address}/24 dev eth0"))
                && ip(&format!("-n {host} link set eth0 up"))
                && ip(&format!("-n {host} link set lo up"));
        }
        done
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }

    fn ours(&self) -> String {
        format!("{}o", self.prefix)
    }

    fn host(&self, index: usize) -> String {
        format!("{}-{index}", self.prefix)
    }

    /// A shell on a host.
    pub(crate) fn command(&self, index: usize) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.host(index), "sh"]);
        command
    }

    /// Cuts a host's line, or mends it.
    fn set_line(&self, index: usize, state: &str) {
        assert!(ip(&format!("-n {} link set eth0 {state}", self.host(index))));
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        ip(&format!("link del {}", self.ours()));
        for index in 0..self.addresses.len() {
            ip(&format!("netns del {}", self.host(index)));
        }
        ip(&format!("netns del {}", self.switch()));
    }
}

/// Runs `ip`, and says whether it did what it was told.
fn ip(arguments: &str) -> bool {
    let done = Command::new("ip").args(arguments.split(' ')).output();
    done.is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_loses_its_line_comes_back_level() {
    let mut random = random();
    let Some(mut fleet) = Fleet::begin_on_hosts().await else {
        println!("not run: network namespaces cannot be made here, which needs iproute2 and its rights");
        return;
    };
    fleet.run_all();
    for _ in 0..runs() {
        some_load(&mut fleet, &mut random).await;
        let alone = below(&mut random, MEMBERS.into()) as usize;
        fleet.hosts.as_ref().unwrap().set_line(alone, "down");
        fleet.progress(WITHOUT).await;
        fleet
            .blocks((alone + 1) % usize::from(MEMBERS), 2 * u64::from(MEMBERS))
            .await;
        fleet.hosts.as_ref().unwrap().set_line(alone, "up");
        fleet.check().await;
    }
    fleet.finish("cut lines").await;
}
