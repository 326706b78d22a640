//! The card meter: what was written today and ever, and what a daily budget does.

use crate::harness::{Agent, numbered, scratch, wait_until};

#[test]
fn what_was_written_is_told_and_not_forgotten_at_a_restart() {
    let directory = scratch();
    let mut agent = Agent::start(directory.path(), "");
    agent.post_all("/a", &numbered(10));
    let count = |agent: &Agent, name: &str| agent.fact(&format!("/buffer/{name}")).as_u64().unwrap();
    let before = count(&agent, "syncs_total");
    assert!(before > 0 && count(&agent, "syncs_today") == before);
    assert_eq!(
        agent.fact("/buffer/disk_bytes_written_today"),
        agent.fact("/buffer/disk_bytes_written_total")
    );
    assert!(agent.terminate().success());
    agent.start_again();
    agent.post("/a", "goes on");
    let (all, own) = (count(&agent, "syncs_total"), count(&agent, "syncs"));
    assert!(all >= before + own, "{before} before, {own} since, {all} in all");
    let (_, metrics) = agent.http().request("GET", "/metrics", &[], b"").expect("the agent answers");
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    assert!(metrics.contains("holdfast_card_syncs_total{} "), "{metrics}");
}

#[test]
fn a_budget_that_is_used_up_slows_the_commits_down_and_drops_nothing() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), "[buffer]\ndaily_budget = \"1MB\"\n");
    assert_eq!(agent.fact("/buffer/commit_after_s"), 0.25);
    let mut chance = fastrand::Rng::with_seed(1);
    let mut word = || format!("\"{}\"", (0..2_000).map(|_| chance.alphanumeric()).collect::<String>());
    let lines: Vec<String> = (0..500).map(|_| word()).collect();
    agent.post_lines("/a", &lines);
    wait_until("the budget is used up", || agent.fact("/buffer/commit_after_s") == 60.0);
    assert_eq!((agent.fact("/buffer/messages"), agent.fact("/buffer/dropped")), (500.into(), 0.into()));
}
