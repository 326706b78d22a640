//! Looks at the machine. Each look reads a few files of /proc and /sys, which takes less than a millisecond and cannot hang.

use std::ffi::OsStr;

use holdfast_core::observe::host::HostFacts;
use sysinfo::{Components, CpuRefreshKind, MemoryRefreshKind, Networks, RefreshKind, System};

/// Words in the names of sensors that measure the processor, the surest first.
const PROCESSOR: [&str; 5] = ["cpu", "soc", "core", "package", "tctl"];
const LOOPBACK: &str = "lo";

/// The machine, with what was read of it before. What cannot be read is left out of the facts.
#[derive(Debug)]
pub struct Machine {
    system: Option<System>,
    networks: Option<Networks>,
    sensors: Option<Components>,
}

impl Machine {
    /// Reads nothing yet but how busy the processors were until then.
    pub fn new() -> Self {
        let usage = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing().with_usage());
        Machine { system: System::new_with_specifics(usage).ok(), networks: None, sensors: None }
    }

    /// Looks at everything. The processors' time counts from the look before, at first from [`Machine::new`].
    pub fn look(&mut self) -> HostFacts {
        let mut facts = HostFacts {
            temperature_c: self.temperature_c(),
            load_1m: System::load_average().ok().map(|load| load.one),
            uptime_s: System::uptime().ok(),
            ..HostFacts::default()
        };
        if let Some(system) = &mut self.system {
            system.refresh_cpu_usage();
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
            let percent = f64::from(system.global_cpu_usage());
            facts.cpu_percent =
                Some(percent).filter(|percent| percent.is_finite() && !system.cpus().is_empty());
            facts.memory_total_bytes = Some(system.total_memory()).filter(|bytes| *bytes > 0);
            facts.memory_used_bytes = facts.memory_total_bytes.map(|_| system.used_memory());
        }
        if let Some((received, sent)) = self.traffic() {
            (facts.network_received_bytes, facts.network_sent_bytes) = (Some(received), Some(sent));
        }
        facts
    }

    fn traffic(&mut self) -> Option<(u64, u64)> {
        match &mut self.networks {
            Some(networks) => networks.refresh(true),
            None => self.networks = Networks::new_with_refreshed_list().ok(),
        }
        let outward = self.networks.iter().flatten().filter(|(name, _)| *name != OsStr::new(LOOPBACK));
        outward
            .map(|(_, seen)| (seen.total_received(), seen.total_transmitted()))
            .reduce(|all, own| (all.0 + own.0, all.1 + own.1))
    }

    fn temperature_c(&mut self) -> Option<f64> {
        match &mut self.sensors {
            Some(sensors) => sensors.refresh(false),
            None => self.sensors = Components::new_with_refreshed_list().ok(),
        }
        let sensors = self.sensors.as_ref()?;
        let hottest = |word: &str| {
            let named = sensors.iter().filter(|sensor| sensor.label().to_lowercase().contains(word));
            named.filter_map(|sensor| sensor.temperature()).filter(|c| c.is_finite()).reduce(f32::max)
        };
        PROCESSOR.into_iter().find_map(hottest).or_else(|| hottest("")).map(f64::from)
    }
}

impl Default for Machine {
    fn default() -> Self {
        Machine::new()
    }
}
