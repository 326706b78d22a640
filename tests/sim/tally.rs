//! What happened in the worlds.

/// What a run did, for the closing line.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub steps: u64,
    pub stored: u64,
    pub delivered: u64,
    pub crashes: u64,
    pub cuts: u64,
    pub moves: u64,
    pub choked: u64,
    pub reloads: u64,
    /// Those of them that changed several tables at once.
    pub reloads_of_several: u64,
    pub commands: u64,
    /// Trials that new settings passed, and those after which the old ones came back.
    pub passed: u64,
    pub rolled_back: u64,
    /// Messages that subscribers were shown, each compared with the last value of its topic.
    pub shown: u64,
    pub unwilling: u64,
    /// Envelopes that were too large for a peer.
    pub oversized: u64,
    /// Links that were seen to have a peer that does not echo.
    pub unechoed: u64,
    /// Requests that servers had no time for, refused for what they held, or took without an answer.
    pub busy: u64,
    pub posts_refused: u64,
    pub unanswered: u64,
    pub slow: u64,
    pub crowds: u64,
    pub came: u64,
    pub heard: u64,
    pub went: u64,
    pub dropped: u64,
    pub expired: u64,
    pub commits: u64,
    /// How often a disk turned read-only or hung.
    pub sick: u64,
    /// How often the agent was started anew because the disk could be written again.
    pub anew: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, rhs: Self) {
        self.steps += rhs.steps;
        self.stored += rhs.stored;
        self.delivered += rhs.delivered;
        self.crashes += rhs.crashes;
        self.cuts += rhs.cuts;
        self.moves += rhs.moves;
        self.choked += rhs.choked;
        self.reloads += rhs.reloads;
        self.reloads_of_several += rhs.reloads_of_several;
        self.commands += rhs.commands;
        self.passed += rhs.passed;
        self.rolled_back += rhs.rolled_back;
        self.shown += rhs.shown;
        self.unwilling += rhs.unwilling;
        self.oversized += rhs.oversized;
        self.unechoed += rhs.unechoed;
        self.busy += rhs.busy;
        self.posts_refused += rhs.posts_refused;
        self.unanswered += rhs.unanswered;
        self.slow += rhs.slow;
        self.crowds += rhs.crowds;
        self.came += rhs.came;
        self.heard += rhs.heard;
        self.went += rhs.went;
        self.dropped += rhs.dropped;
        self.expired += rhs.expired;
        self.commits += rhs.commits;
        self.sick += rhs.sick;
        self.anew += rhs.anew;
    }
}
