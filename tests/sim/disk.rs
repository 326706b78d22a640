//! A disk that keeps what was synced, may keep what was not, and sometimes fails.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use holdfast_core::ids::OutletId;
use holdfast_core::message::{Body, Boot, Clock, Entry, GapReason, Message, Stamp};
use holdfast_core::outlet::age::Limit;
use holdfast_core::outlet::given::Given;
use holdfast_core::outlet::lane;
use holdfast_core::outlet::store_protocol::{Held, Opened, Sequences, StoreFacts, StoreOrder, StoreReport};
use holdfast_core::seed::Seed;

const GROUP_MAX: u64 = 20;

#[derive(Debug, Clone, Default)]
struct Content {
    /// By the name of the outlet, groups by their first number.
    outlets: BTreeMap<String, BTreeMap<u64, Vec<Entry>>>,
    numbers: Option<Sequences>,
    presence: Option<Vec<u8>>,
    clocks: Option<Vec<u8>>,
    dead: Vec<Arc<Message>>,
}

/// How a disk is that does not only fail now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Whatever writes fails.
    ReadOnly,
    /// Nothing is answered.
    Hung,
}

/// The disk and the orders that wait for it.
#[derive(Debug)]
pub struct Disk {
    /// The outlets of the agent that lives, in the order of their numbers.
    names: Vec<String>,
    durable: Content,
    flushed: Content,
    orders: VecDeque<StoreOrder>,
    /// Of a thousand orders so many fail.
    pub failing: u64,
    pub mood: Mood,
    /// The file system is nearly full, by somebody else.
    pub short: bool,
    /// Payloads that were dropped at the bound or purged.
    pub dropped: Vec<Vec<u8>>,
    /// Outlets, payloads and limits of what was given up for its age since this was looked at.
    pub expired: Vec<(String, Vec<u8>, Limit)>,
    pub commits: u64,
}

impl Disk {
    pub fn new() -> Self {
        Disk {
            names: Vec::new(),
            durable: Content::default(),
            flushed: Content::default(),
            orders: VecDeque::new(),
            failing: 0,
            mood: Mood::Well,
            short: false,
            dropped: vec![],
            expired: vec![],
            commits: 0,
        }
    }

    pub fn queue(&mut self, order: StoreOrder) {
        self.orders.push_back(order);
    }

    /// Opens it for these outlets and for lanes of theirs that were used before.
    pub fn opened(&mut self, mut outlets: Vec<String>, given: &BTreeMap<u64, Given>) -> Opened {
        let numbers = self.flushed.numbers.clone();
        for name in numbers.iter().flat_map(|numbers| numbers.outlets.keys()) {
            if !outlets.contains(name) && outlets.iter().any(|known| known == lane::parse(name).0) {
                outlets.push(name.clone());
            }
        }
        self.names.clone_from(&outlets);
        let given = numbers.as_ref().and_then(|numbers| given.get(&numbers.run)).cloned();
        let Content { presence, clocks, .. } = self.flushed.clone();
        Opened { outlets, numbers, given, presence, clocks, facts: self.facts(), ..Opened::default() }
    }

    /// The name of an outlet.
    pub fn name(&self, outlet: OutletId) -> &str {
        &self.names[outlet.0]
    }

    fn groups(&self, outlet: OutletId) -> impl DoubleEndedIterator<Item = &Vec<Entry>> {
        self.flushed.outlets.get(self.name(outlet)).into_iter().flat_map(BTreeMap::values)
    }

    fn groups_mut(&mut self, outlet: OutletId) -> &mut BTreeMap<u64, Vec<Entry>> {
        self.flushed.outlets.entry(self.names[outlet.0].clone()).or_default()
    }

    /// First number of an outlet, and first id, that was not reserved.
    pub fn reserved(&self, outlet: &str) -> (u64, u64) {
        let numbers = self.durable.numbers.as_ref();
        let own = numbers.and_then(|numbers| numbers.outlets.get(outlet)).map_or(0, |own| own.block.end);
        (own, numbers.map_or(0, |numbers| numbers.ids.end))
    }

    /// The epoch with which a later life goes on.
    pub fn epoch(&self, outlet: &str) -> Option<&String> {
        self.durable.numbers.as_ref()?.outlets.get(outlet).map(|own| &own.epoch)
    }

    /// Whether a power cut at this moment would leave the payload, here or among the dead letters.
    pub fn keeps(&self, link: &str, payload: &[u8]) -> bool {
        let own = self.durable.outlets.iter().filter(|(name, _)| lane::parse(name).0 == link);
        let stored = own.flat_map(|(_, groups)| groups.values().flatten()).any(|entry| match &entry.body {
            Body::Message(message) => message.payload == payload,
            Body::Gap { .. } => false,
        });
        stored || self.durable.dead.iter().any(|message| message.payload == payload)
    }

    /// How many numbers the gaps hold that still wait there for a link.
    pub fn announced_later(&self, link: &str) -> u64 {
        let own = self.all_groups().filter(|(name, _)| lane::parse(name).0 == link);
        let gaps = own.flat_map(|(_, group)| group).filter(|entry| matches!(entry.body, Body::Gap { .. }));
        gaps.map(|gap| gap.last() - gap.seq + 1).sum()
    }

    pub fn dead(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.flushed.dead.iter()
    }

    /// Whether it has nothing to do.
    pub fn is_idle(&self) -> bool {
        self.orders.is_empty()
    }

    /// The groups that lie there: the name of the outlet and the entries.
    pub fn all_groups(&self) -> impl Iterator<Item = (&str, &Vec<Entry>)> {
        let outlets = self.flushed.outlets.iter();
        outlets.flat_map(|(name, groups)| groups.values().map(move |group| (name.as_str(), group)))
    }

    /// Carries out the oldest order.
    pub fn work(&mut self, seed: &mut Seed) -> Option<(StoreReport, StoreFacts)> {
        if self.mood == Mood::Hung {
            return None;
        }
        // What is read does not wait for a sync.
        let quick = |order: &StoreOrder| matches!(order, StoreOrder::Read { .. } | StoreOrder::Measure);
        let first = self.orders.iter().position(quick).filter(|_| seed.below(2) == 0);
        let order = self.orders.remove(first.unwrap_or(0))?;
        // What is confirmed is remembered, as long as the agent lives.
        let writes = !matches!(
            order,
            StoreOrder::Read { .. } | StoreOrder::Forget { .. } | StoreOrder::Measure | StoreOrder::Close
        );
        let report = if self.mood == Mood::ReadOnly && writes {
            failed(&order)
        } else if order != StoreOrder::Close && seed.below(1000) < self.failing {
            let report = failed(&order);
            if let StoreOrder::Append { parts } = order {
                self.append_some(parts, seed);
            }
            report
        } else {
            self.carry_out(order, seed)
        };
        Some((report, self.facts()))
    }

    /// How many orders wait.
    pub fn orders(&self) -> usize {
        self.orders.len()
    }

    /// The agent dies. Orders that wait may be carried out in part, and nobody hears of it.
    pub fn crash(&mut self, power_cut: bool, seed: &mut Seed) {
        for order in std::mem::take(&mut self.orders) {
            if seed.below(2) == 0 || self.mood != Mood::Well {
                break;
            }
            match order {
                StoreOrder::Append { parts } => {
                    self.append_some(parts, seed);
                    break;
                }
                StoreOrder::Close | StoreOrder::Read { .. } => {}
                other => drop(self.carry_out(other, seed)),
            }
        }
        if power_cut || self.mood == Mood::ReadOnly {
            self.flushed = self.durable.clone();
        } else {
            self.durable = self.flushed.clone();
        }
    }

    fn carry_out(&mut self, order: StoreOrder, seed: &mut Seed) -> StoreReport {
        match order {
            StoreOrder::Append { parts } => {
                self.commits += 1;
                parts.into_iter().for_each(|(outlet, entries)| self.append(outlet, entries, seed));
                self.sync();
                StoreReport::Appended
            }
            StoreOrder::Read { outlet, from, falling, max_bytes, token } => {
                StoreReport::Read { outlet, token, entries: self.read(outlet, from, falling, max_bytes) }
            }
            StoreOrder::Forget { parts } => {
                let last = |group: &Vec<Entry>| group.last().expect("no group is empty").last();
                for (outlet, ranges) in parts {
                    let within = |first: &u64, group: &Vec<Entry>| {
                        ranges.iter().any(|(from, to)| from <= first && last(group) <= *to)
                    };
                    self.groups_mut(outlet).retain(|first, group| !within(first, group));
                }
                if seed.below(3) == 0 {
                    self.sync();
                }
                StoreReport::Forgot
            }
            StoreOrder::DropOldest { outlet, bytes } => self.drop_oldest(outlet, bytes),
            StoreOrder::Expire { outlet, limit } => self.expire(outlet, &limit),
            StoreOrder::SetAside { outlet, seq, message, .. } => {
                let stored = self.groups(outlet).flatten().find(|entry| entry.seq == seq);
                let stored = stored.and_then(|entry| match &entry.body {
                    Body::Message(message) => Some(Arc::clone(message)),
                    Body::Gap { .. } => None,
                });
                let message = message.or(stored);
                self.flushed.dead.extend(message.clone());
                self.sync();
                StoreReport::SetAside { outlet, seq, found: message.is_some() }
            }
            StoreOrder::SaveNumbers(numbers) => {
                self.flushed.numbers = Some(numbers.clone());
                self.durable.numbers = Some(numbers);
                StoreReport::NumbersSaved
            }
            StoreOrder::SavePresence(bytes) => {
                self.flushed.presence = Some(bytes.clone());
                self.durable.presence = Some(bytes);
                StoreReport::PresenceSaved
            }
            StoreOrder::SaveClocks(bytes) => {
                self.flushed.clocks = Some(bytes.clone());
                self.durable.clocks = Some(bytes);
                StoreReport::ClocksSaved
            }
            StoreOrder::Widen { outlets } => {
                for name in outlets {
                    assert!(!self.names.contains(&name), "{name} has a place already");
                    self.names.push(name);
                }
                StoreReport::Widened
            }
            StoreOrder::Reopen => StoreReport::Reopened,
            StoreOrder::Measure => StoreReport::Measured,
            StoreOrder::Close => {
                self.sync();
                StoreReport::Closed
            }
        }
    }

    fn sync(&mut self) {
        if self.mood == Mood::ReadOnly {
            return;
        }
        self.durable = self.flushed.clone();
    }

    /// Writes groups; what an append that failed has left is not written twice.
    fn append(&mut self, outlet: OutletId, mut entries: Vec<Entry>, seed: &mut Seed) {
        let last =
            self.groups(outlet).next_back().map_or(0, |group| group.last().expect("never empty").last());
        entries.retain(|entry| entry.last() > last);
        if let Some(first) = entries.first_mut() {
            first.seq = first.seq.max(last + 1);
        }
        while !entries.is_empty() {
            let size = usize::try_from(1 + seed.below(GROUP_MAX)).expect("small").min(alike(&entries));
            let rest = entries.split_off(size);
            self.groups_mut(outlet).insert(entries[0].seq, entries);
            entries = rest;
        }
    }

    /// A commit that was cut: some outlets have a first part of their groups, nothing was synced on purpose.
    fn append_some(&mut self, parts: Vec<(OutletId, Vec<Entry>)>, seed: &mut Seed) {
        for (outlet, mut entries) in parts {
            entries.truncate(usize::try_from(seed.below(entries.len() as u64 + 1)).expect("small"));
            self.append(outlet, entries, seed);
        }
        if seed.below(2) == 0 {
            self.sync();
        }
    }

    fn read(&self, outlet: OutletId, from: u64, falling: bool, max_bytes: usize) -> Vec<Entry> {
        let mut bytes = 0;
        let mut found = Vec::new();
        let mut wanted: Vec<&Entry> = self.groups(outlet).flatten().collect();
        if falling {
            wanted.retain(|entry| entry.seq <= from);
            wanted.reverse();
        } else {
            wanted.retain(|entry| entry.last() >= from);
        }
        for entry in wanted {
            if bytes >= max_bytes && !found.is_empty() {
                break;
            }
            bytes += entry.weight();
            found.push(Entry { replayed: true, ..Entry::clone(entry) });
        }
        found
    }

    fn drop_oldest(&mut self, outlet: OutletId, bytes: u64) -> StoreReport {
        let (messages, gap) = self.give_up(outlet, bytes, GapReason::DroppedOldest);
        StoreReport::Dropped { outlet, messages, gap }
    }

    /// How many outlets there are.
    pub fn outlets(&self) -> usize {
        self.names.len()
    }

    /// People give up everything that is stored for an outlet.
    pub fn purge(&mut self, outlet: OutletId) -> (StoreReport, StoreFacts) {
        let (messages, gap) = self.give_up(outlet, u64::MAX, GapReason::Purged);
        (StoreReport::Purged { outlet, messages, gap }, self.facts())
    }

    fn give_up(&mut self, outlet: OutletId, bytes: u64, reason: GapReason) -> (u64, Option<(u64, u64)>) {
        let mut groups = std::mem::take(self.groups_mut(outlet));
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
        *self.groups_mut(outlet) = groups;
        self.sync();
        (messages, range)
    }

    fn expire(&mut self, outlet: OutletId, limit: &Limit) -> StoreReport {
        let mut groups = std::mem::take(self.groups_mut(outlet));
        let old = |group: &Vec<Entry>| newest(group).is_none_or(|stamp| limit.has_passed(&stamp));
        let front: Vec<u64> =
            groups.iter().take_while(|(_, group)| old(group)).map(|(first, _)| *first).collect();
        let last =
            front.iter().rposition(|first| newest(&groups[first]).is_some()).map_or(0, |last| last + 1);
        let (mut messages, mut range) = (0, None);
        for first in &front[..last] {
            let group = groups.remove(first).expect("it was just seen");
            range = Some((range.map_or(*first, |(from, _)| from), group.last().expect("never empty").last()));
            for entry in group {
                if let Body::Message(message) = entry.body {
                    messages += 1;
                    self.expired.push((self.names[outlet.0].clone(), message.payload.clone(), limit.clone()));
                }
            }
        }
        if let Some((seq, to)) = range {
            let body = Body::Gap { to, reason: GapReason::Expired };
            groups.insert(seq, vec![Entry { seq, body, replayed: false }]);
        }
        *self.groups_mut(outlet) = groups;
        self.sync();
        StoreReport::Expired { outlet, messages, gap: range }
    }

    fn facts(&self) -> StoreFacts {
        let empty = BTreeMap::new();
        let of = |name: &String| held(self.flushed.outlets.get(name).unwrap_or(&empty));
        let held: Vec<Held> = self.names.iter().map(of).collect();
        let free_bytes = Some(if self.short { 1 << 19 } else { 1 << 40 });
        StoreFacts {
            disk_bytes: held.iter().map(|held| held.bytes).sum(),
            free_bytes,
            held,
            read_only: (self.mood == Mood::ReadOnly).then(|| "read-only file system".to_owned()),
            ..StoreFacts::default()
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
        oldest_group: groups.values().find_map(|group| newest(group)),
        last_id: messages().map(|message| message.id).max().unwrap_or(0),
    }
}

fn stamps(group: &[Entry]) -> impl Iterator<Item = Stamp> {
    group.iter().filter_map(|entry| match &entry.body {
        Body::Message(message) => Some(message.stamp()),
        Body::Gap { .. } => None,
    })
}

/// When the newest message of a group came, which is vouched for if all of them are.
fn newest(group: &[Entry]) -> Option<Stamp> {
    let newest = stamps(group).max_by_key(|stamp| stamp.up_ns)?;
    let synced = stamps(group).all(|stamp| stamp.clock == Clock::Synced);
    Some(Stamp { clock: if synced { Clock::Synced } else { Clock::Unsynced }, ..newest })
}

/// How many of the first entries came in one run of the machine between two settings of the clock.
fn alike(entries: &[Entry]) -> usize {
    let origin =
        |entry: &Entry| stamps(std::slice::from_ref(entry)).next().map(|stamp| (stamp.boot, stamp.offset()));
    let first: Option<(Boot, u64)> = entries.iter().find_map(origin);
    let other = entries.iter().position(|entry| origin(entry).is_some_and(|origin| Some(origin) != first));
    other.unwrap_or(entries.len())
}

fn weight(group: &[Entry]) -> u64 {
    group.iter().map(|entry| entry.weight() as u64).sum()
}

fn failed(order: &StoreOrder) -> StoreReport {
    let (order, outlet) = order.kind();
    StoreReport::Failed { order, outlet, error: "no space left on device".to_owned() }
}
