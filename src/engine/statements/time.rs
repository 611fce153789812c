//! The clock and watermarks.

use crate::error::{Code, Result, StatementError};
use crate::sql::{AdvanceClock, AdvanceWatermark, SqlOption};

use super::super::core::{ClockMode, Core, Done};
use super::super::settings::invalid;
use super::at;

impl Core {
    pub(super) fn set(&mut self, option: &SqlOption) -> Result<Done> {
        if option.key.value == "clock" {
            // The time stays as it was last read. An engine that has never read it stands at the Unix epoch,
            // so that a script which begins with this statement gives the same times on every run.
            self.clock = match option.value.to_ascii_lowercase().as_str() {
                "manual" => ClockMode::Manual,
                "system" => ClockMode::System,
                _ => return Err(invalid(option, "'system' or 'manual'")),
            };
        } else {
            self.settings.set(option)?;
            self.graph.limit_state(&self.settings);
        }
        Ok(Done::Message(format!("{} is {}", option.key.value, option.value)))
    }

    pub(super) fn advance_clock_statement(&mut self, advance: AdvanceClock) -> Result<Done> {
        if self.clock == ClockMode::System {
            return Err(StatementError::new(Code::InvalidArgument, "the clock is the machine's")
                .hint("SET clock = 'manual' makes it one that is advanced by hand.")
                .into());
        }
        let now = self.graph.now;
        let to = match advance {
            AdvanceClock::By(interval) => now + interval,
            AdvanceClock::To(time) => time,
        };
        if to < now {
            return Err(StatementError::new(
                Code::InvalidArgument,
                format!("the clock is at {now} and never goes back"),
            )
            .into());
        }
        self.graph.advance(to)?;
        self.graph.flush()?;
        Ok(Done::Message(format!("the clock is at {to}")))
    }

    /// Tells the readers of a stream that no earlier row will come.
    pub(super) fn advance_watermark(&mut self, advance: &AdvanceWatermark) -> Result<Done> {
        let name = &advance.relation.value;
        if self.kind_of(name).is_none() {
            return Err(self.not_found("stream", &advance.relation));
        }
        let Some(relation) = self.catalog.relations.get(name) else {
            return Err(at(&advance.relation, Code::InvalidArgument, format!("\"{name}\" is only written to")).into());
        };
        if !relation.is_fed() {
            let message = format!("the watermark of \"{name}\" follows from its rows");
            return Err(at(&advance.relation, Code::InvalidArgument, message)
                .hint("ADVANCE WATERMARK is for streams that the host program feeds.")
                .into());
        }
        if relation.watermark().is_none() {
            return Err(at(&advance.relation, Code::InvalidArgument, format!("\"{name}\" has no event time"))
                .hint("Declare it with WATERMARK FOR column AS expression.")
                .into());
        }
        self.graph.advance_watermark(&name.as_str().into(), advance.to)?;
        Ok(Done::Message(format!("the watermark of \"{name}\" is at {}", advance.to)))
    }
}
