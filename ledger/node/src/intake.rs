//! Transactions on their way to the ledger's thread.
//!
//! A transaction's signature is what it costs most, and many signatures checked together cost about half of what they
//! cost one by one. So whatever arrives while a lot is being checked is the next lot: a lone transaction is checked at
//! once, and the more there are, the larger are the lots. While the ledger's thread takes one lot, the next is checked.

use agon_protocol::message::{Signed, Transaction};
use agon_runtime::Shutdown;
use tokio::sync::{mpsc, oneshot};

use crate::clerk::Clerk;
use crate::desk::{Desk, DeskError};

/// Arrivals that wait; beyond them the node is busy.
const ARRIVALS_MAX: usize = 1_024;
/// Transactions after which a lot takes no more arrivals: beyond that, they hardly get cheaper.
const LOT: usize = 256;

/// What is to be done with transactions whose signatures were looked at.
type Job = Box<dyn FnOnce(&mut Clerk, Vec<Signed<Transaction>>) + Send>;

/// Transactions that came together.
pub(crate) struct Arrival {
    transactions: Vec<Signed<Transaction>>,
    job: Job,
}

/// Where transactions are brought; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Intake(mpsc::Sender<Arrival>);

impl Intake {
    /// An intake, and what [`work`] takes from it.
    pub(crate) fn open() -> (Self, mpsc::Receiver<Arrival>) {
        let (sender, arrivals) = mpsc::channel(ARRIVALS_MAX);
        (Self(sender), arrivals)
    }

    /// Has `job` done with `transactions` once their signatures were checked, in the order in which calls come. One
    /// whose signature does not hold is told so by the ledger, in its words.
    ///
    /// # Errors
    ///
    /// [`DeskError`].
    pub(crate) async fn bring<R: Send + 'static>(
        &self,
        transactions: Vec<Signed<Transaction>>,
        job: impl FnOnce(&mut Clerk, Vec<Signed<Transaction>>) -> R + Send + 'static,
    ) -> Result<R, DeskError> {
        let (reply, result) = oneshot::channel();
        let job: Job = Box::new(move |clerk, transactions| {
            // Whoever asked may have gone meanwhile.
            let _ = reply.send(job(clerk, transactions));
        });
        let sent = self.0.try_send(Arrival { transactions, job });
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => DeskError::Busy,
            mpsc::error::TrySendError::Closed(_) => DeskError::Closed,
        })?;
        result.await.map_err(|_| DeskError::Closed)
    }
}

/// Takes lots of arrivals to the clerk until `shutdown`; `checker` is where their signatures are checked.
pub(crate) async fn work(
    mut arrivals: mpsc::Receiver<Arrival>,
    checker: Desk<()>,
    clerk: Desk<Clerk>,
    shutdown: Shutdown,
) -> Result<(), String> {
    let lots = async {
        let mut taken = clerk.hand_in(|_| ()).await?;
        while let Some(lot) = next_lot(&mut arrivals).await {
            let checked = checker.ask_in_turn(|()| check(lot)).await?;
            taken.wait().await?;
            let take = move |clerk: &mut Clerk| {
                for Arrival { transactions, job } in checked {
                    job(clerk, transactions);
                }
            };
            taken = clerk.hand_in(take).await?;
        }
        Ok::<(), DeskError>(())
    };
    tokio::select! {
        biased;
        () = shutdown.requested() => Ok(()),
        ended = lots => ended.map_err(|error| error.to_string()),
    }
}

fn check(lot: Vec<Arrival>) -> Vec<Arrival> {
    Signed::check_signatures(lot.iter().flat_map(|arrival| &arrival.transactions));
    lot
}

/// What has arrived, as much as one lot takes; `None` once there can be no more.
async fn next_lot(arrivals: &mut mpsc::Receiver<Arrival>) -> Option<Vec<Arrival>> {
    let first = arrivals.recv().await?;
    let mut count = first.transactions.len();
    let mut lot = vec![first];
    while count < LOT {
        let Ok(arrival) = arrivals.try_recv() else { break };
        count += arrival.transactions.len();
        lot.push(arrival);
    }
    Some(lot)
}

#[cfg(test)]
mod tests {
    use agon_protocol::message::Transaction;
    use tokio::task::JoinSet;

    use super::*;
    use crate::fixture::{clerk, transfer};
    use crate::mempool::SubmitError;

    type Tx = Signed<Transaction>;

    fn submit(clerk: &mut Clerk, mut one: Vec<Tx>) -> Result<(), SubmitError> {
        clerk.submit(one.remove(0)).map(drop)
    }

    /// An intake whose work is done on this task, as in a simulation.
    fn open(tasks: &mut JoinSet<Result<(), String>>) -> (Intake, Desk<Clerk>) {
        let (intake, arrivals) = Intake::open();
        let ((clerk, _), (checker, _)) = (Desk::inline(clerk()), Desk::inline(()));
        tasks.spawn(work(arrivals, checker, clerk.clone(), Shutdown::new()));
        (intake, clerk)
    }

    #[tokio::test]
    async fn transactions_are_taken_in_the_order_in_which_they_came() {
        let mut tasks = JoinSet::new();
        let (intake, _clerk) = open(&mut tasks);
        let count = crate::mempool::PER_ACCOUNT_MAX as u64;
        let brought = (0..count).map(|nonce| intake.bring(vec![transfer(1, nonce, 2, 1)], submit));
        for taken in futures::future::join_all(brought).await {
            taken.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_signature_that_does_not_hold_is_refused_in_the_ledgers_words() {
        let mut tasks = JoinSet::new();
        let (intake, clerk) = open(&mut tasks);
        let (good, other) = (transfer(1, 0, 2, 1), transfer(3, 0, 2, 1));
        let forged = Signed::from_parts(good.bytes().to_vec(), *other.signature()).unwrap();
        let asked = forged.clone();
        let expected = clerk
            .ask(move |clerk| clerk.dry_run(&asked))
            .await
            .unwrap()
            .unwrap_err();
        let brought = [forged, other, good].map(|it| intake.bring(vec![it], submit));
        let [refused, taken, also_taken] =
            <[_; 3]>::try_from(futures::future::join_all(brought).await).unwrap();
        assert_eq!(refused.unwrap().unwrap_err().to_string(), expected.to_string());
        taken.unwrap().unwrap();
        also_taken.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_intake_that_nobody_empties_is_busy_and_then_closed() {
        let (intake, arrivals) = Intake::open();
        let mut waiting: Vec<_> = (0..=ARRIVALS_MAX)
            .map(|_| Box::pin(intake.bring(Vec::new(), |_, _| ())))
            .collect();
        let mut refused = 0;
        for bring in &mut waiting {
            if let std::task::Poll::Ready(result) = futures::poll!(bring) {
                assert_eq!(result, Err(DeskError::Busy));
                refused += 1;
            }
        }
        assert_eq!(refused, 1);
        drop(arrivals);
        assert_eq!(intake.bring(Vec::new(), |_, _| ()).await, Err(DeskError::Closed));
    }
}
