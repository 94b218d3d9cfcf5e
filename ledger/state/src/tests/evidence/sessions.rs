//! Evidence of tempos that are asked in sessions: whose it was is shown by the commit, and not before.

use agon_protocol::sign::DrawProof;

use super::work::session_input;
use super::*;

/// [`ledger`] in the first tempo that is asked in sessions.
fn in_sessions() -> Ledger {
    let mut ledger = ledger();
    ledger.ok(1, set("evidence_sessions", 1));
    ledger.close_tempo();
    ledger
}

fn asked(ledger: &Ledger, key: u8) -> Work {
    Work::of(ledger, key, |_, _| Does::Asks)
}

fn proof(ledger: &Ledger, key: u8, tempo: u64) -> Option<DrawProof> {
    Some(pair(key).session(&session_input(ledger, tempo)).proof)
}

#[test]
fn a_session_is_shown_by_its_commit_and_its_slots_count() {
    let mut ledger = in_sessions();
    let tempo = ledger.subnet().tempo;
    let view = ledger.state.evidence_view(SUBNET, tempo).unwrap();
    assert!(view.in_sessions && view.validators.is_empty());
    let permitted: Vec<Hotkey> = view.permitted.iter().map(|(_, hotkey)| *hotkey).collect();
    assert_eq!(permitted, [101, 102, 103].map(hotkey));
    let record = paid(&mut ledger, [Some(Does::Asks); 3]);
    assert_eq!(record.coverage_ppm[..3], [1_000_000; 3]);
    let view = ledger.state.evidence_view(SUBNET, tempo).unwrap();
    let session = pair(101).session(&session_input(&ledger, tempo));
    assert_eq!(
        view.of(hotkey(101)).map(|line| line.asker),
        Some(session.pair.hotkey())
    );
    ledger.state.check_invariants().unwrap();
}

#[test]
fn a_tempo_is_asked_in_sessions_or_with_hotkeys_and_nobody_chooses() {
    let mut with_hotkeys = ledger();
    let mut work = asked(&with_hotkeys, 101);
    work.session = proof(&with_hotkeys, 101, work.of.tempo);
    with_hotkeys.refused_now(101, work.commit(), "evidence session");
    let mut ledger = in_sessions();
    let mut work = asked(&ledger, 101);
    let session = work.session.take();
    ledger.refused_now(101, work.commit(), "evidence session");
    work.session = session;
    ledger.transact(101, work.commit()).unwrap();
}

#[test]
fn a_proof_is_of_the_hotkey_that_drew_and_of_the_tempo() {
    let mut ledger = in_sessions();
    let mut work = asked(&ledger, 101);
    let tempo = work.of.tempo;
    let mut altered = proof(&ledger, 101, tempo);
    altered.as_mut().unwrap().proof[5] ^= 1;
    let wrong = [
        proof(&ledger, 102, tempo),
        proof(&ledger, 101, tempo + 1),
        altered,
    ];
    for session in wrong {
        work.session = session;
        ledger.refused_now(101, work.commit(), "session proof");
    }
    work.session = proof(&ledger, 101, tempo);
    ledger.transact(101, work.commit()).unwrap();
}

#[test]
fn what_was_asked_with_a_hotkey_opens_nothing_of_a_session_and_is_a_forgery() {
    let mut ledger = ledger();
    ledger.close_tempo();
    let with_hotkey = asked(&ledger, 101);
    ledger.ok(1, set("evidence_sessions", 1));
    ledger.close_tempo();
    let mut work = asked(&ledger, 101);
    let (draws, tempo) = (work.draws.clone(), work.of.tempo);
    work.leaves.clone_from(&with_hotkey.leaves);
    ledger.transact(101, work.commit()).unwrap();
    ledger.close_tempo();
    work.draws.clone_from(&with_hotkey.draws);
    ledger.refused_now(101, work.opening(&ledger), "opening");
    work.draws = draws;
    let view = ledger.state.evidence_view(SUBNET, tempo).unwrap();
    assert!(!view.of(hotkey(101)).unwrap().is_forged);
    ledger.transact(9, work.answer_report(0)).unwrap();
    let view = ledger.state.evidence_view(SUBNET, tempo).unwrap();
    assert!(view.of(hotkey(101)).unwrap().is_forged);
}
