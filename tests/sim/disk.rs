//! A disk that keeps what was synced, may keep what was not, and sometimes fails.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use holdfast::logic::disk::{DiskFacts, DiskOrder, DiskReport, Held, Numbers, Opened};
use holdfast::logic::seed::Seed;
use holdfast::message::{Body, Entry, GapReason, Message};

const GROUP_MAX: u64 = 20;

#[derive(Debug, Clone, Default)]
struct Content {
    /// Per outlet, groups by their first number.
    outlets: Vec<BTreeMap<u64, Vec<Entry>>>,
    numbers: Option<Numbers>,
    presence: Option<Vec<u8>>,
    dead: Vec<Arc<Message>>,
}

/// The disk and the orders that wait for it.
#[derive(Debug)]
pub struct Disk {
    durable: Content,
    flushed: Content,
    orders: VecDeque<DiskOrder>,
    /// Of a thousand orders so many fail.
    pub failing: u64,
    /// The file system is nearly full, by somebody else.
    pub short: bool,
    /// Payloads that were dropped at the bound or purged.
    pub dropped: Vec<Vec<u8>>,
    pub commits: u64,
}

impl Disk {
    pub fn new(outlets: usize) -> Self {
        let content = Content { outlets: vec![BTreeMap::new(); outlets], ..Content::default() };
        Disk {
            durable: content.clone(),
            flushed: content,
            orders: VecDeque::new(),
            failing: 0,
            short: false,
            dropped: vec![],
            commits: 0,
        }
    }

    pub fn queue(&mut self, order: DiskOrder) {
        self.orders.push_back(order);
    }

    pub fn opened(&self) -> Opened {
        let numbers = self.flushed.numbers.clone();
        Opened { numbers, presence: self.flushed.presence.clone(), facts: self.facts(), repairs: Vec::new() }
    }

    /// First number of an outlet, and first id, that was not reserved.
    pub fn reserved(&self, outlet: &str) -> (u64, u64) {
        let numbers = self.durable.numbers.as_ref();
        let own = numbers.and_then(|numbers| numbers.outlets.get(outlet)).map_or(0, |own| own.block.end);
        (own, numbers.map_or(0, |numbers| numbers.ids.end))
    }

    /// Whether a power cut at this moment would leave the payload, here or among the dead letters.
    pub fn keeps(&self, outlet: usize, payload: &[u8]) -> bool {
        let stored = self.durable.outlets[outlet].values().flatten().any(|entry| match &entry.body {
            Body::Message(message) => message.payload == payload,
            Body::Gap { .. } => false,
        });
        stored || self.durable.dead.iter().any(|message| message.payload == payload)
    }

    pub fn dead(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.flushed.dead.iter()
    }

    /// Carries out the oldest order.
    pub fn work(&mut self, seed: &mut Seed) -> Option<(DiskReport, DiskFacts)> {
        let order = self.orders.pop_front()?;
        let report = if order != DiskOrder::Close && seed.below(1000) < self.failing {
            let report = failed(&order);
            if let DiskOrder::Append { parts } = order {
                self.append_some(parts, seed);
            }
            report
        } else {
            self.carry_out(order, seed)
        };
        Some((report, self.facts()))
    }

    /// The agent dies. Orders that wait may be carried out in part, and nobody hears of it.
    pub fn crash(&mut self, power_cut: bool, seed: &mut Seed) {
        for order in std::mem::take(&mut self.orders) {
            if seed.below(2) == 0 {
                break;
            }
            match order {
                DiskOrder::Append { parts } => {
                    self.append_some(parts, seed);
                    break;
                }
                DiskOrder::Close | DiskOrder::Read { .. } => {}
                other => drop(self.carry_out(other, seed)),
            }
        }
        if power_cut {
            self.flushed = self.durable.clone();
        } else {
            self.durable = self.flushed.clone();
        }
    }

    fn carry_out(&mut self, order: DiskOrder, seed: &mut Seed) -> DiskReport {
        match order {
            DiskOrder::Append { parts } => {
                self.commits += 1;
                parts.into_iter().for_each(|(outlet, entries)| self.append(outlet, entries, seed));
                self.sync();
                DiskReport::Appended
            }
            DiskOrder::Read { outlet, from, max_bytes, token } => {
                DiskReport::Read { outlet, token, entries: self.read(outlet, from, max_bytes) }
            }
            DiskOrder::Forget { outlet, through } => {
                let last = |group: &Vec<Entry>| group.last().expect("no group is empty").last();
                self.flushed.outlets[outlet].retain(|_, group| last(group) > through);
                if seed.below(3) == 0 {
                    self.sync();
                }
                DiskReport::Forgot { outlet }
            }
            DiskOrder::DropOldest { outlet, bytes } => self.drop_oldest(outlet, bytes),
            DiskOrder::SetAside { outlet, seq, message, .. } => {
                let stored = self.flushed.outlets[outlet].values().flatten().find(|entry| entry.seq == seq);
                let stored = stored.and_then(|entry| match &entry.body {
                    Body::Message(message) => Some(Arc::clone(message)),
                    Body::Gap { .. } => None,
                });
                let message = message.or(stored);
                self.flushed.dead.extend(message.clone());
                self.sync();
                DiskReport::SetAside { found: message.is_some() }
            }
            DiskOrder::SaveNumbers(numbers) => {
                self.flushed.numbers = Some(numbers.clone());
                self.durable.numbers = Some(numbers);
                DiskReport::NumbersSaved
            }
            DiskOrder::SavePresence(bytes) => {
                self.flushed.presence = Some(bytes.clone());
                self.durable.presence = Some(bytes);
                DiskReport::PresenceSaved
            }
            DiskOrder::Measure => DiskReport::Measured,
            DiskOrder::Close => {
                self.sync();
                DiskReport::Closed
            }
        }
    }

    fn sync(&mut self) {
        self.durable = self.flushed.clone();
    }

    /// Writes groups; what an append that failed has left is not written twice.
    fn append(&mut self, outlet: usize, mut entries: Vec<Entry>, seed: &mut Seed) {
        let groups = &self.flushed.outlets[outlet];
        let last = groups.values().next_back().map_or(0, |group| group.last().expect("never empty").last());
        entries.retain(|entry| entry.last() > last);
        if let Some(first) = entries.first_mut() {
            first.seq = first.seq.max(last + 1);
        }
        while !entries.is_empty() {
            let size = usize::try_from(1 + seed.below(GROUP_MAX)).expect("small").min(entries.len());
            let rest = entries.split_off(size);
            self.flushed.outlets[outlet].insert(entries[0].seq, entries);
            entries = rest;
        }
    }

    /// A commit that was cut: some outlets have a first part of their groups, nothing was synced on purpose.
    fn append_some(&mut self, parts: Vec<(usize, Vec<Entry>)>, seed: &mut Seed) {
        for (outlet, mut entries) in parts {
            entries.truncate(usize::try_from(seed.below(entries.len() as u64 + 1)).expect("small"));
            self.append(outlet, entries, seed);
        }
        if seed.below(2) == 0 {
            self.sync();
        }
    }

    fn read(&self, outlet: usize, from: u64, max_bytes: usize) -> Vec<Entry> {
        let mut bytes = 0;
        let mut found = Vec::new();
        for entry in self.flushed.outlets[outlet].values().flatten().filter(|entry| entry.last() >= from) {
            if bytes >= max_bytes && !found.is_empty() {
                break;
            }
            bytes += entry.weight();
            found.push(Entry { replayed: true, ..entry.clone() });
        }
        found
    }

    fn drop_oldest(&mut self, outlet: usize, bytes: u64) -> DiskReport {
        let (messages, gap) = self.give_up(outlet, bytes, GapReason::DroppedOldest);
        DiskReport::Dropped { outlet, messages, gap }
    }

    /// People give up everything that is stored for an outlet.
    pub fn purge(&mut self, outlet: usize) -> (DiskReport, DiskFacts) {
        let (messages, gap) = self.give_up(outlet, u64::MAX, GapReason::Purged);
        (DiskReport::Purged { outlet, messages, gap }, self.facts())
    }

    fn give_up(&mut self, outlet: usize, bytes: u64, reason: GapReason) -> (u64, Option<(u64, u64)>) {
        let groups = &mut self.flushed.outlets[outlet];
        let (mut freed, mut messages, mut range) = (0, 0, None);
        while freed < bytes {
            let Some((first, group)) = groups.pop_first() else { break };
            let last = group.last().expect("no group is empty").last();
            freed += weight(&group);
            for entry in &group {
                if let Body::Message(message) = &entry.body {
                    messages += 1;
                    self.dropped.push(message.payload.clone());
                }
            }
            range = Some((range.map_or(first, |(from, _)| from), last));
        }
        if let Some((seq, to)) = range {
            let body = Body::Gap { to, reason };
            groups.insert(seq, vec![Entry { seq, body, replayed: false }]);
        }
        self.sync();
        (messages, range)
    }

    fn facts(&self) -> DiskFacts {
        let held: Vec<Held> = self.flushed.outlets.iter().map(held).collect();
        let free_bytes = Some(if self.short { 1 << 20 } else { 1 << 40 });
        DiskFacts {
            disk_bytes: held.iter().map(|held| held.bytes).sum(),
            free_bytes,
            held,
            ..DiskFacts::default()
        }
    }
}

fn held(groups: &BTreeMap<u64, Vec<Entry>>) -> Held {
    let entries = || groups.values().flatten();
    let messages = || {
        entries().filter_map(|entry| match &entry.body {
            Body::Message(message) => Some(message),
            Body::Gap { .. } => None,
        })
    };
    Held {
        range: entries().next().map(|first| (first.seq, entries().last().expect("has a first").last())),
        messages: messages().count() as u64,
        bytes: groups.values().map(|group| weight(group)).sum(),
        oldest_ns: messages().next().map_or(0, |message| message.time_ns),
        last_id: messages().map(|message| message.id).max().unwrap_or(0),
    }
}

fn weight(group: &[Entry]) -> u64 {
    group.iter().map(|entry| entry.weight() as u64).sum()
}

fn failed(order: &DiskOrder) -> DiskReport {
    let (order, outlet) = match order {
        DiskOrder::Append { .. } => ("append", None),
        DiskOrder::Read { outlet, .. } => ("read", Some(*outlet)),
        DiskOrder::Forget { outlet, .. } => ("forget", Some(*outlet)),
        DiskOrder::DropOldest { outlet, .. } => ("drop", Some(*outlet)),
        DiskOrder::SetAside { outlet, .. } => ("set aside", Some(*outlet)),
        DiskOrder::SaveNumbers(_) => ("save numbers", None),
        DiskOrder::SavePresence(_) => ("save presence", None),
        DiskOrder::Measure => ("measure", None),
        DiskOrder::Close => ("close", None),
    };
    DiskReport::Failed { order, outlet, error: "no space left on device".to_owned() }
}
