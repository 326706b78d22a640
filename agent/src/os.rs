//! Resources of the machine: the clock, files and their owners, accounts, secrets, the service supervisor, facts about
//! the host.

pub mod aside;
pub mod clock;
pub mod descriptors;
pub mod host;
pub mod logger;
pub mod pam;
pub mod password;
pub mod private;
pub mod secret;
pub mod supervisor;
