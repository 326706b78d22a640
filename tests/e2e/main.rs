//! The real binary with real peers around it. Each test has a directory, agents and peers of its own, so that all run at
//! the same time; whatever is waited for is a condition, and nothing is timed.
//!
//! `tests/all` brings what the tests need: mosquitto, nginx, tinyproxy, microsocks, curl, systemd-analyze and Python with the `websockets` package.

#[cfg(test)]
mod access;
#[cfg(test)]
mod age;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod body;
mod broker_source;
mod buffer;
#[cfg(test)]
mod card;
#[cfg(test)]
mod client;
#[cfg(test)]
mod consumer;
#[cfg(test)]
mod crowd;
#[cfg(test)]
mod cut;
#[cfg(test)]
mod deliver;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod descriptors;
mod doctor;
#[cfg(test)]
mod endpoint;
#[cfg(test)]
mod files;
#[cfg(test)]
mod first_steps;
#[cfg(test)]
mod format;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod host;
#[cfg(test)]
mod http_link;
#[cfg(test)]
mod inbound;
#[cfg(test)]
mod install;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod lanes;
mod libraries;
#[cfg(test)]
mod log;
#[cfg(test)]
mod manage;
#[cfg(test)]
mod meter;
#[cfg(test)]
mod mqtt;
#[cfg(test)]
mod mqtt5;
#[cfg(test)]
mod mqtt_link;
#[cfg(test)]
mod mqtt_server;
mod names;
mod nats;
#[cfg(test)]
mod odd_peer;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod private;
#[cfg(test)]
mod probe;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod read_only;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod recipes;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod removed;
#[cfg(test)]
mod reverse_proxy;
#[cfg(test)]
mod rotate;
#[cfg(test)]
mod route;
#[cfg(test)]
mod several_files;
#[cfg(test)]
mod slow_disk;
#[cfg(test)]
mod stop;
#[cfg(test)]
mod store;
#[cfg(test)]
mod supply;
#[cfg(test)]
mod systemd;
#[cfg(test)]
mod tap;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod tls_server;
#[cfg(test)]
mod upgrade;
