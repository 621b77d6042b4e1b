//! Those who are told of alerts: they hear, or not, or only some of it.

use std::sync::Arc;

use async_trait::async_trait;
use ebap_connector::{AlertEvent, Error, Notifier, Result};

use super::world::{Point, Process};

pub(super) struct Receiver {
    process: Arc<Process>,
    name: &'static str,
}

impl Receiver {
    pub(super) fn new(process: &Arc<Process>, name: &'static str) -> Self {
        Self { process: Arc::clone(process), name }
    }

    /// Something goes wrong as often as with what is outside.
    fn fails(&self) -> bool {
        self.process.world.fails(self.process.world.faults.outside)
    }

    fn lost(&self) -> Error {
        Error::unreachable(self.name, "no answer")
    }
}

#[async_trait]
impl Notifier for Receiver {
    fn describe(&self) -> String {
        self.name.to_owned()
    }

    async fn notify(&mut self, events: &[AlertEvent]) -> Result<()> {
        self.process.pass(Point::BeforeTold).await;
        if self.fails() {
            return Err(self.lost());
        }
        let heard = if self.fails() { events.len() / 2 } else { events.len() };
        let news = events[..heard].iter().filter(|event| !event.repeated);
        self.process.world.told.lock().extend(news.map(|event| (self.name.to_owned(), event.clone())));
        self.process.pass(Point::AfterTold).await;
        if heard < events.len() || self.fails() {
            return Err(self.lost());
        }
        Ok(())
    }
}
