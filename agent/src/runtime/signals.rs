//! The signals that reach the agent.

use std::rc::Rc;

use async_signal::{Signal, Signals};
use smol::LocalExecutor;
use smol::channel::{Receiver, bounded};
use smol::stream::StreamExt;

/// Signals that may wait for the loop.
const SIGNALS: usize = 8;

/// The signals that the agent obeys, through all of its lives.
pub fn obeyed(executor: &Rc<LocalExecutor<'static>>) -> anyhow::Result<Receiver<Signal>> {
    let mut signals = Signals::new([Signal::Term, Signal::Int, Signal::Hup])?;
    let (sender, receiver) = bounded(SIGNALS);
    let watching = async move {
        while let Some(Ok(signal)) = signals.next().await {
            // Whoever is asked so often knows by then.
            let _ = sender.try_send(signal);
        }
    };
    executor.spawn(watching).detach();
    Ok(receiver)
}
