//! The machine: clock, disk, card, permissions, limits, certificates.

use super::{Finding, size};
use crate::clocks::PROGRAM_EXISTS_NS;
use crate::observe::status::rfc3339;

const SECOND_NS: u64 = 1_000_000_000;
const DAY_NS: u64 = 86_400 * SECOND_NS;
/// The store cannot work with less than this.
const FREE_BYTES_MIN: u64 = 16_000_000;
/// Other programs on the machine need some room beside the buffer's.
const FREE_BYTES_SPARE: u64 = 50_000_000;
const FREE_FILES_MIN: u64 = 50;
const FREE_FILES_FEW: u64 = 500;
/// A renewal that works leaves more than this: authorities renew 30 days before the end.
const CERTIFICATE_DAYS_FEW: i64 = 21;
/// Shares of a limit, in percent.
const MEMORY_SHARE: u64 = 90;
const TASKS_SHARE: u64 = 80;
/// A small card bears about this a day for ten years.
const CARD_DAY_BYTES: u64 = 2_000_000_000;

/// The wall clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockFacts {
    /// UTC, since 1970.
    pub wall_ns: u64,
    /// Whether something vouches for it.
    pub is_synced: bool,
    /// The file that vouches for it.
    pub file: String,
    /// When the agent last wrote into its data directory, by the clock of that time.
    pub written_ns: Option<u64>,
}

impl ClockFacts {
    /// Findings about the clock.
    pub fn findings(&self) -> Vec<Finding> {
        const ABOUT: &str = "clock";
        const SET: &str = "connect this machine to a time server (timedatectl, chronyc tracking), or set it: timedatectl set-time";
        let time = rfc3339(self.wall_ns);
        if self.wall_ns < PROGRAM_EXISTS_NS {
            let found =
                format!("{time}, which is before this program existed: certificates will seem not valid yet");
            return vec![Finding::fault(ABOUT, found, SET)];
        }
        if let Some(written) =
            self.written_ns.filter(|written| *written > self.wall_ns.saturating_add(DAY_NS))
        {
            let found = format!(
                "{time}, but the agent wrote on {}: the clock was set back, or was ahead then",
                rfc3339(written)
            );
            return vec![Finding::fault(ABOUT, found, SET)];
        }
        if !self.is_synced {
            let found = format!("{time}, and nothing says that it is right: {} is not there", self.file);
            let remedy = "run systemd-timesyncd, or name the file that your time service makes in `agent.clock_file`; messages say meanwhile that the clock is not synced";
            return vec![Finding::warning(ABOUT, found, remedy)];
        }
        vec![Finding::ok(ABOUT, format!("{time}, synchronized"))]
    }
}

/// The file system of the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Disk {
    /// The data directory.
    pub dir: String,
    /// Whether it is there.
    pub exists: bool,
    /// Whether the file system is mounted so that nothing can be written.
    pub is_read_only: bool,
    /// Free bytes, and all of them.
    pub bytes: Option<(u64, u64)>,
    /// Files that can still be made; none where there is no bound.
    pub free_files: Option<u64>,
    /// Bytes of the store.
    pub used_bytes: u64,
    /// Its bound.
    pub max_bytes: u64,
}

impl Disk {
    /// Findings about the disk.
    pub fn findings(&self) -> Vec<Finding> {
        const ABOUT: &str = "disk";
        let dir = &self.dir;
        let mut findings = Vec::new();
        if self.is_read_only {
            findings.push(Finding::fault(
                ABOUT,
                format!("the file system of {dir} is read-only: nothing new can be stored"),
                format!("`dmesg` tells whether the card failed; check it (fsck) and mount it again: mount -o remount,rw $(findmnt -nT {dir} -o TARGET)"),
            ));
        }
        if let Some((free, _)) = self.bytes {
            let wanted = self.max_bytes.saturating_sub(self.used_bytes);
            let found = format!("{} are free in {dir}", size(free));
            if free < FREE_BYTES_MIN {
                let remedy = "make room (journalctl --vacuum-size=50M, apt-get clean), or give `agent.data_dir` another disk";
                findings.push(Finding::fault(
                    ABOUT,
                    format!("{found}, and the store needs {}", size(FREE_BYTES_MIN)),
                    remedy,
                ));
            } else if free < wanted.saturating_add(FREE_BYTES_SPARE) {
                findings.push(Finding::warning(
                    ABOUT,
                    format!("{found}, and the buffer may take {} more", size(wanted)),
                    "make room, or lower `buffer.max_bytes`: the bound in force shrinks with the room, and what is beyond it is dropped",
                ));
            }
        }
        if let Some(files) = self.free_files.filter(|files| *files < FREE_FILES_FEW) {
            let found =
                format!("only {files} more files can be made on the file system of {dir} (inodes, df -i)");
            let remedy = "remove files that nothing needs";
            findings.push(match files < FREE_FILES_MIN {
                true => Finding::fault(ABOUT, found, remedy),
                false => Finding::warning(ABOUT, found, remedy),
            });
        }
        if findings.is_empty() {
            findings.push(Finding::ok(ABOUT, self.well()));
        }
        findings
    }

    fn well(&self) -> String {
        let dir = &self.dir;
        let there = if self.exists { "" } else { ", which the first start makes" };
        let room = self.bytes.map(|(free, all)| format!(": {} of {} free", size(free), size(all)));
        format!(
            "{dir}{there}{}, the store takes {} of {}",
            room.unwrap_or_default(),
            size(self.used_bytes),
            size(self.max_bytes)
        )
    }
}

/// The card under the data directory, and how much is written to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Card {
    /// The device and its own word on its wear, where it tells.
    pub life: Option<(String, LifeTime)>,
    /// Bytes that the agent wrote today.
    pub today_bytes: Option<u64>,
    /// Bytes that it ever wrote.
    pub total_bytes: Option<u64>,
    /// `buffer.daily_budget`.
    pub daily_budget: Option<u64>,
}

/// Wear of an eMMC, as it tells it (JESD84-B51 §7.4.43, §7.4.44).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LifeTime {
    /// Tenths of its life that are used up, the larger one of both kinds of memory: 1 is up to 10 %, 11 is beyond all.
    pub tenths: u8,
    /// Reserved blocks: 1 is normal, 2 is 80 % used, 3 is urgent.
    pub reserve: u8,
}

impl Card {
    /// Findings about the card.
    pub fn findings(&self) -> Vec<Finding> {
        const ABOUT: &str = "card";
        let mut findings = Vec::new();
        if let Some((device, life)) =
            self.life.as_ref().filter(|(_, life)| life.tenths >= 9 || life.reserve >= 2)
        {
            let found = format!("{device} says that {} of its life is used up", life.used());
            let remedy = "plan to replace it, and keep a copy of the configuration elsewhere";
            findings.push(match life.tenths >= 11 || life.reserve >= 3 {
                true => {
                    Finding::fault(ABOUT, found, "replace it soon: it may stop taking writes at any time")
                }
                false => Finding::warning(ABOUT, found, remedy),
            });
        }
        let bound = self.daily_budget.unwrap_or(CARD_DAY_BYTES);
        if let Some(today) = self.today_bytes.filter(|today| *today > bound) {
            let of = if self.daily_budget.is_some() {
                "buffer.daily_budget is"
            } else {
                "a small card bears about"
            };
            findings.push(Finding::warning(
                ABOUT,
                format!("the agent wrote {} today, and {of} {} a day", size(today), size(bound)),
                "a link that is up and confirms within `buffer.commit_after` costs no write; else raise that, or set `buffer.daily_budget`",
            ));
        }
        if findings.is_empty() {
            findings.push(Finding::ok(ABOUT, self.well()));
        }
        findings
    }

    fn well(&self) -> String {
        let today = self.today_bytes.map(|bytes| format!("{} written today", size(bytes)));
        let total = self.total_bytes.map(|bytes| format!("{} written in all", size(bytes)));
        let life = match &self.life {
            Some((device, life)) => format!("{device} has used up {} of its life", life.used()),
            None => "the device tells nothing of its wear, as SD cards do not".to_owned(),
        };
        [today, total, Some(life)].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl LifeTime {
    /// Reads `life_time` and `pre_eol_info` of Linux: `0x01 0x02` and `0x01`.
    pub fn read(life_time: &str, pre_eol_info: &str) -> Option<LifeTime> {
        let number = |word: &str| u8::from_str_radix(word.trim_start_matches("0x"), 16).ok();
        let tenths = life_time.split_whitespace().filter_map(number).max().filter(|tenths| *tenths > 0)?;
        let reserve = pre_eol_info.split_whitespace().find_map(number).unwrap_or_default();
        Some(LifeTime { tenths, reserve })
    }

    fn used(self) -> String {
        match self.tenths {
            11.. => "all".to_owned(),
            tenths => format!("up to {} %", u32::from(tenths) * 10),
        }
    }
}

/// Owner of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The number of the user.
    pub user: u32,
    /// Mode bits.
    pub mode: u32,
}

/// Ownership of the files, and permission to read them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permissions {
    /// The data directory.
    pub dir: String,
    /// Its owner, if it is there.
    pub owner: Option<Owner>,
    /// The user that the agent runs as, or this command where none runs.
    pub user: u32,
    /// Secrets that everybody on this machine can read, a sentence each.
    pub exposed: Vec<String>,
}

impl Permissions {
    /// Findings about the permissions.
    pub fn findings(&self) -> Vec<Finding> {
        const ABOUT: &str = "permissions";
        let (dir, user) = (&self.dir, self.user);
        let mut findings = Vec::new();
        if let Some(owner) = self.owner.filter(|owner| owner.user != user && user != 0) {
            let owner = owner.user;
            let found = format!("{dir} belongs to user {owner}, and this is user {user}");
            let remedy = format!(
                "run this command and the agent as user {owner} (sudo -u '#{owner}'), or give it away: chown -R {user} {dir}"
            );
            findings.push(Finding::warning(ABOUT, found, remedy));
        }
        if let Some(owner) = self.owner.filter(|owner| owner.mode & 0o022 != 0) {
            let found =
                format!("others than its owner can write into {dir} (mode {:03o})", owner.mode & 0o777);
            findings.push(Finding::fault(ABOUT, found, format!("chmod go-w {dir}")));
        }
        for exposed in &self.exposed {
            let (found, remedy) =
                exposed.split_once(": chmod").map_or((exposed.as_str(), ""), |(found, rest)| (found, rest));
            findings.push(Finding::fault(ABOUT, found, format!("chmod{remedy}")));
        }
        if findings.is_empty() {
            findings.push(Finding::ok(ABOUT, "nobody else can write the data directory or read the secrets"));
        }
        findings
    }
}

/// How much of something is used, and the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// In use.
    pub used: u64,
    /// The bound; none if there is no bound.
    pub max: Option<u64>,
}

/// Limits of the running agent, or those that a start from here would have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Trouble with the number of descriptors for this configuration, in a sentence.
    pub descriptors: Option<String>,
    /// Memory, in bytes (MemoryMax=).
    pub memory: Option<Usage>,
    /// Threads (TasksMax=).
    pub tasks: Option<Usage>,
    /// How often the kernel killed something of the agent's for its memory.
    pub killed: u64,
}

impl Limits {
    /// Findings about the limits.
    pub fn findings(&self) -> Vec<Finding> {
        const ABOUT: &str = "limits";
        const DROP_IN: &str = "of the service: systemctl edit holdfast";
        let near = |usage: Option<Usage>, share: u64| {
            let Usage { used, max: Some(max) } = usage? else { return None };
            (used > max.saturating_mul(share) / 100).then_some((used, max))
        };
        let mut findings = Vec::new();
        if let Some(found) = &self.descriptors {
            findings.push(Finding::warning(ABOUT, found, format!("raise LimitNOFILE= {DROP_IN}")));
        }
        if let Some((used, max)) = near(self.memory, MEMORY_SHARE) {
            let found = format!("the agent uses {} of {} of memory", size(used), size(max));
            findings.push(Finding::warning(
                ABOUT,
                found,
                format!("raise MemoryMax= {DROP_IN}, or lower limits.connections and buffer.max_bytes"),
            ));
        }
        if self.killed > 0 {
            let found = format!("the kernel has killed the agent {} times for its memory", self.killed);
            findings.push(Finding::fault(
                ABOUT,
                found,
                format!("raise MemoryMax= {DROP_IN}, or lower limits.connections and buffer.max_bytes"),
            ));
        }
        if let Some((used, max)) = near(self.tasks, TASKS_SHARE) {
            let found = format!("the agent has {used} of {max} threads");
            findings.push(Finding::warning(ABOUT, found, format!("raise TasksMax= {DROP_IN}")));
        }
        if findings.is_empty() {
            findings.push(Finding::ok(ABOUT, self.well()));
        }
        findings
    }

    fn well(&self) -> String {
        let bounded = |usage: Option<Usage>, words: fn(u64) -> String, what: &str| {
            let usage = usage?;
            let of = usage.max.map_or("without a bound".to_owned(), |max| format!("of {}", words(max)));
            Some(format!("{what} {} {of}", words(usage.used)))
        };
        let memory = bounded(self.memory, size, "memory");
        let tasks = bounded(self.tasks, |count| count.to_string(), "threads");
        let all = [Some("there are descriptors enough".to_owned()), memory, tasks];
        all.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// A certificate, of a server of the agent or of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Owner: `server sensors`.
    pub owner: String,
    /// Days until it ends, or why that cannot be told.
    pub days_left: Result<i64, String>,
}

impl Certificate {
    /// Finding about the certificate.
    pub fn finding(&self) -> Finding {
        let about = format!("certificate of {}", self.owner);
        let renew = "have it renewed; a server of the agent takes a new file without a restart";
        match &self.days_left {
            Err(error) => {
                Finding::fault(&about, error, "mend the file that it names; `holdfast check` reads it again")
            }
            Ok(days) if *days < 0 => Finding::fault(&about, format!("it ended {} days ago", -days), renew),
            Ok(days) if *days < CERTIFICATE_DAYS_FEW => {
                Finding::warning(&about, format!("it ends in {days} days"), renew)
            }
            Ok(days) => Finding::ok(&about, format!("good for {days} days")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::doctor::Grade;

    const NOW_NS: u64 = PROGRAM_EXISTS_NS + 100 * DAY_NS;

    fn only(findings: Vec<Finding>) -> Finding {
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].grade == Grade::Ok, findings[0].remedy.is_empty(), "{findings:?}");
        findings.into_iter().next().unwrap()
    }

    fn says(findings: Vec<Finding>, grade: Grade, words: &str) {
        let finding = only(findings);
        assert_eq!(finding.grade, grade, "{finding:?}");
        assert!(finding.found.contains(words), "{finding:?}");
    }

    #[test]
    fn a_clock_is_judged_by_what_is_known_to_be_past_and_by_what_vouches_for_it() {
        let clock = |wall_ns, is_synced, written_ns| {
            ClockFacts { wall_ns, is_synced, file: "/run/synced".to_owned(), written_ns }.findings()
        };
        says(clock(NOW_NS, true, Some(NOW_NS)), Grade::Ok, "synchronized");
        says(clock(NOW_NS, false, None), Grade::Warning, "/run/synced is not there");
        says(clock(0, true, None), Grade::Fault, "1970-01-01");
        says(clock(NOW_NS, true, Some(NOW_NS + 2 * DAY_NS)), Grade::Fault, "set back");
    }

    #[test]
    fn a_disk_is_judged_by_its_room_its_files_and_whether_it_can_be_written() {
        let disk = Disk {
            dir: "/data".to_owned(),
            exists: true,
            bytes: Some((10_000_000_000, 29_000_000_000)),
            free_files: Some(100_000),
            used_bytes: 1_000_000,
            max_bytes: 256_000_000,
            ..Disk::default()
        };
        says(
            disk.findings(),
            Grade::Ok,
            "/data: 10.0 GB of 29.0 GB free, the store takes 1.0 MB of 256.0 MB",
        );
        let short = |free| Disk { bytes: Some((free, 29_000_000_000)), ..disk.clone() }.findings();
        says(short(200_000_000), Grade::Warning, "the buffer may take 255.0 MB more");
        says(short(5_000_000), Grade::Fault, "5.0 MB are free");
        let files = |free| Disk { free_files: Some(free), ..disk.clone() }.findings();
        says(files(400), Grade::Warning, "400 more files");
        says(files(3), Grade::Fault, "3 more files");
        says(Disk { is_read_only: true, ..disk.clone() }.findings(), Grade::Fault, "read-only");
        says(Disk { bytes: None, free_files: None, ..disk }.findings(), Grade::Ok, "the store takes");
    }

    #[test]
    fn the_wear_of_a_card_is_what_it_tells_and_what_is_written_to_it() {
        let life = |life_time, pre_eol| {
            let life = LifeTime::read(life_time, pre_eol).map(|life| ("mmcblk0".to_owned(), life));
            Card { life, today_bytes: Some(36_900), ..Card::default() }.findings()
        };
        says(life("0x01 0x02\n", "0x01\n"), Grade::Ok, "mmcblk0 has used up up to 20 %");
        says(life("0x09 0x02\n", "0x01\n"), Grade::Warning, "up to 90 %");
        says(life("0x01 0x01\n", "0x02\n"), Grade::Warning, "up to 10 %");
        says(life("0x0b 0x02\n", "0x01\n"), Grade::Fault, "all of its life");
        says(life("0x01 0x02\n", "0x03\n"), Grade::Fault, "up to 20 %");
        says(life("0x00 0x00\n", ""), Grade::Ok, "36.9 kB written today");
        let busy = |daily_budget| {
            Card { today_bytes: Some(3_000_000_000), daily_budget, ..Card::default() }.findings()
        };
        says(busy(None), Grade::Warning, "3.0 GB today");
        says(busy(Some(1_000_000_000)), Grade::Warning, "buffer.daily_budget is 1.0 GB");
        says(busy(Some(5_000_000_000)), Grade::Ok, "3.0 GB written today");
    }

    #[test]
    fn files_that_others_own_write_or_read_are_told_with_the_command_that_helps() {
        let of = |user, owner: Option<Owner>, exposed: &[&str]| {
            let exposed = exposed.iter().map(|text| (*text).to_owned()).collect();
            Permissions { dir: "/data".to_owned(), owner, user, exposed }.findings()
        };
        let own = |user, mode| Some(Owner { user, mode });
        says(of(7, own(7, 0o40700), &[]), Grade::Ok, "nobody else");
        says(of(7, None, &[]), Grade::Ok, "nobody else");
        says(of(0, own(7, 0o40700), &[]), Grade::Ok, "nobody else");
        says(of(7, own(8, 0o40700), &[]), Grade::Warning, "belongs to user 8");
        says(of(7, own(7, 0o40777), &[]), Grade::Fault, "mode 777");
        let exposed = only(of(7, None, &["key: /k is a secret that everybody can read: chmod o-rwx /k"]));
        assert_eq!((exposed.grade, exposed.remedy.as_str()), (Grade::Fault, "chmod o-rwx /k"));
        assert_eq!(exposed.found, "key: /k is a secret that everybody can read");
    }

    #[test]
    fn limits_are_told_when_the_agent_comes_near_them() {
        let usage = |used, max| Some(Usage { used, max });
        let sound = Limits {
            memory: usage(20_000_000, Some(256_000_000)),
            tasks: usage(15, Some(64)),
            ..Limits::default()
        };
        says(sound.findings(), Grade::Ok, "memory 20.0 MB of 256.0 MB, threads 15 of 64");
        let free = Limits { memory: usage(20_000_000, None), ..Limits::default() };
        says(free.findings(), Grade::Ok, "memory 20.0 MB without a bound");
        let full = Limits { memory: usage(250_000_000, Some(256_000_000)), ..sound.clone() };
        says(full.findings(), Grade::Warning, "250.0 MB of 256.0 MB");
        says(Limits { killed: 2, ..sound.clone() }.findings(), Grade::Fault, "2 times");
        says(Limits { tasks: usage(60, Some(64)), ..sound.clone() }.findings(), Grade::Warning, "60 of 64");
        says(Limits { descriptors: Some("few".to_owned()), ..sound }.findings(), Grade::Warning, "few");
    }

    #[test]
    fn a_certificate_is_told_three_weeks_before_it_ends() {
        let finding = |days_left| vec![Certificate { owner: "server a".to_owned(), days_left }.finding()];
        says(finding(Ok(60)), Grade::Ok, "good for 60 days");
        says(finding(Ok(20)), Grade::Warning, "ends in 20 days");
        says(finding(Ok(-2)), Grade::Fault, "ended 2 days ago");
        says(finding(Err("cannot read a.pem".to_owned())), Grade::Fault, "cannot read a.pem");
    }
}
