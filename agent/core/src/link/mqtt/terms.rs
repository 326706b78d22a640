//! What a broker takes, as its CONNACK says (MQTT 5.0 §3.2.2.3).

use std::fmt;
use std::time::Duration;

use crate::source::mqtt::from_broker::BrokerTerms;
use crate::source::mqtt::packet::{QoS, Version};

/// How MQTT is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Version that is spoken.
    pub version: Version,
    /// Largest packet that the broker takes, where it says so.
    pub packet_bytes: Option<u32>,
    /// Publications that may wait for their PUBACK.
    pub in_flight: u16,
    /// Highest quality of service.
    pub qos: QoS,
    /// Whether it takes retained messages.
    pub retains: bool,
    /// Keep-alive that it sets in place of the one that it was asked for; zero is none.
    pub keep_alive: Option<Duration>,
}

impl Terms {
    /// Those of a broker that names none.
    pub fn of(version: Version) -> Terms {
        Terms {
            version,
            packet_bytes: None,
            in_flight: u16::MAX,
            qos: QoS::ExactlyOnce,
            retains: true,
            keep_alive: None,
        }
    }

    /// Those that a CONNACK tells.
    pub fn told(version: Version, told: &BrokerTerms) -> Terms {
        Terms {
            version,
            packet_bytes: Some(told.packet_max).filter(|bytes| *bytes < u32::MAX),
            in_flight: told.receive_max,
            qos: told.qos_max,
            retains: told.retains,
            keep_alive: told.keep_alive_s.map(|seconds| Duration::from_secs(seconds.into())),
        }
    }

    /// Whether a packet of so many bytes may be sent. The error says why not.
    pub fn admits(&self, bytes: usize) -> Result<(), String> {
        match self.packet_bytes {
            Some(most) if u32::try_from(bytes).map_or(true, |bytes| bytes > most) => {
                Err(format!("its packet has {bytes} bytes, and the broker takes {most} at most"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Time after which something must be sent so that the broker does not take this end for dead, where it says so.
    pub fn ping_within(&self) -> Option<Duration> {
        self.keep_alive.filter(|limit| !limit.is_zero()).map(|limit| limit * 2 / 3)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V311 => "MQTT 3.1.1",
            Version::V5 => "MQTT 5",
        })
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.version)?;
        if let Some(bytes) = self.packet_bytes {
            write!(f, ", packets of {bytes} bytes at most")?;
        }
        if self.in_flight < u16::MAX {
            write!(f, ", {} unacknowledged at most", self.in_flight)?;
        }
        if self.qos == QoS::AtMostOnce {
            f.write_str(", QoS 0 only")?;
        }
        if !self.retains {
            f.write_str(", no retained messages")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_told_as_far_as_they_bind() {
        let free = Terms::of(Version::V5);
        assert_eq!((free.to_string(), free.admits(1 << 30)), ("MQTT 5".to_owned(), Ok(())));
        assert_eq!(Terms::of(Version::V311).to_string(), "MQTT 3.1.1");
        let bound =
            Terms { packet_bytes: Some(1000), in_flight: 20, qos: QoS::AtMostOnce, retains: false, ..free };
        assert_eq!(
            bound.to_string(),
            "MQTT 5, packets of 1000 bytes at most, 20 unacknowledged at most, QoS 0 only, no retained messages"
        );
        assert_eq!(bound.admits(1000), Ok(()));
        assert!(bound.admits(1001).unwrap_err().contains("1001 bytes"));
    }

    #[test]
    fn a_keep_alive_of_the_broker_is_met_in_time() {
        let of = |seconds| Terms { keep_alive: Some(Duration::from_secs(seconds)), ..Terms::of(Version::V5) };
        assert_eq!(of(30).ping_within(), Some(Duration::from_secs(20)));
        assert_eq!((of(0).ping_within(), Terms::of(Version::V5).ping_within()), (None, None));
    }
}
