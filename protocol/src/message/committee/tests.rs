//! Quorums, certificates and equivocations at their edges.

use super::*;

const GENESIS: Digest = Digest([9; 32]);
const BLOCK: Digest = Digest([7; 32]);

fn pair(seed: u8) -> Keypair {
    Keypair::from_mini_secret(&[seed; 32])
}

fn committee(powers: &[u64]) -> Committee {
    let members = powers.iter().zip(1..).map(|(power, seed)| Member {
        consensus_key: pair(seed).consensus_key(),
        hotkey: pair(seed + 100).hotkey(),
        power: *power,
    });
    Committee::new(members.collect()).unwrap()
}

fn certificate(signers: &[u8]) -> Certificate {
    let mut certificate = Certificate {
        height: BlockNumber(5),
        round: 1,
        block: BLOCK,
        signatures: Vec::new(),
    };
    let signatures = signers
        .iter()
        .map(|seed| commit_signature(&pair(*seed), &certificate, GENESIS))
        .collect();
    certificate.signatures = signatures;
    certificate
}

fn verify(certificate: &Certificate, committee: &Committee) -> Result<u64, CertificateError> {
    certificate.verify(GENESIS, committee, BlockNumber(5), BLOCK)
}

#[test]
fn more_than_two_thirds_of_the_power_make_a_block_final() {
    for (powers, quorum) in [
        (&[1, 1, 1, 1][..], 3),
        (&[1, 1, 1], 3),
        (&[1], 1),
        (&[5, 5], 7),
        (&[Committee::POWER_MAX], Committee::POWER_MAX / 3 * 2 + 1),
    ] {
        assert_eq!(committee(powers).quorum(), quorum, "{powers:?}");
    }
    let committee = committee(&[3, 3, 3, 1]);
    assert_eq!(verify(&certificate(&[1, 2, 3]), &committee), Ok(9));
    assert_eq!(verify(&certificate(&[1, 2, 4]), &committee), Ok(7));
    assert!(matches!(
        verify(&certificate(&[1, 2]), &committee),
        Err(CertificateError::Power {
            power: 6,
            quorum: 7,
            ..
        })
    ));
}

#[test]
fn strangers_and_repetition_do_not_count() {
    let committee = committee(&[1, 1, 1, 1]);
    for signers in [&[1, 2, 2][..], &[1, 2, 9]] {
        let result = verify(&certificate(signers), &committee);
        assert!(
            matches!(result, Err(CertificateError::Voter { .. })),
            "{signers:?}"
        );
    }
}

#[test]
fn a_wrong_byte_anywhere_fails() {
    let committee = committee(&[1, 1, 1, 1]);
    let good = certificate(&[1, 2, 3]);
    let bytes = codec::encode(&good);
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 1;
        if let Ok(certificate) = codec::decode::<Certificate>(&changed, Certificate::BYTES_MAX) {
            assert!(verify(&certificate, &committee).is_err(), "byte {index}");
        }
    }
    let other_ledger = good.verify(Digest([1; 32]), &committee, BlockNumber(5), BLOCK);
    assert!(other_ledger.is_err());
}

#[test]
fn two_votes_for_two_blocks_are_an_equivocation_and_nothing_else_is() {
    let vote = |kind, block, round| {
        let vote = Vote {
            genesis: GENESIS,
            height: BlockNumber(3),
            round,
            kind,
            block,
            voter: pair(1).consensus_key(),
        };
        Signed::sign(vote, &pair(1))
    };
    let check = |first: &Signed<Vote>, second: &Signed<Vote>| {
        let (first, second) = (first.clone(), second.clone());
        Equivocation { first, second }.verify(GENESIS)
    };
    let base = vote(VoteKind::Precommit, Some(BLOCK), 0);
    assert_eq!(
        check(&base, &vote(VoteKind::Precommit, None, 0)),
        Ok(pair(1).consensus_key())
    );
    for other in [
        base.clone(),
        vote(VoteKind::Precommit, None, 1),
        vote(VoteKind::Prevote, None, 0),
    ] {
        assert_eq!(check(&base, &other), Err(NoEquivocation::NoConflict));
    }
    let again = |locked_round| vote(VoteKind::Proposal { locked_round }, Some(BLOCK), 4);
    assert_eq!(
        check(&again(None), &again(Some(2))),
        Err(NoEquivocation::NoConflict)
    );
    let forged = Signed::from_parts(
        vote(VoteKind::Precommit, None, 0).bytes().to_vec(),
        *base.signature(),
    );
    assert!(matches!(
        check(&base, &forged.unwrap()),
        Err(NoEquivocation::Signature { .. })
    ));
}

#[test]
fn a_committee_is_in_order_and_without_repetition() {
    let member = committee(&[1]).members()[0];
    assert!(Committee::new(vec![member, member]).is_err());
    assert!(Committee::new(vec![Member { power: 0, ..member }]).is_err());
    let mut swapped = committee(&[1, 2]);
    swapped.members.swap(0, 1);
    assert!(swapped.validate().is_err());
    assert_eq!(Committee::default().digest(), Digest::default());
}
