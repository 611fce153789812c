//! `EXPLAIN` and `EXPLAIN ANALYZE`.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::plan::{self, Parameters, Plan};
use crate::recovery::PipelineId;
use crate::runtime::clock::{Clock, ManualClock};
use crate::sql::{Explain, Purpose};

use super::super::core::{ClockMode, Core, Done, Planned};
use super::super::options::QueryOptions;
use super::super::pipeline::{Destination, Pipeline};

impl Core {
    pub(super) fn explain(&mut self, explain: &Explain, parameters: &Parameters) -> Result<Done> {
        let planned = match explain.purpose {
            Purpose::Asked => self.plan_asked(&explain.query, parameters, QueryOptions::default())?,
            Purpose::GoesOn => self.plan(&explain.query, parameters)?,
        };
        if !explain.analyze {
            return Ok(Done::Text(plan::explain(&planned.plan, None)));
        }
        self.tick()?;
        self.graph.measure(Some(self.stopwatch()));
        let analyzed = self.analyze(planned);
        self.graph.measure(None);
        analyzed.map(Done::Text)
    }

    /// Runs a query over the rows that are there, and draws what each node has done.
    fn analyze(&mut self, planned: Planned) -> Result<String> {
        let plan = planned.plan.clone();
        let id = self.start(planned, Destination::Discard)?;
        let read = self.graph.read_to_end(id, &self.settings);
        let open = self.open_relations(id);
        let pipeline = self.graph.remove(id);
        read?;
        match pipeline {
            Some(Pipeline { error: Some(error), .. }) => Err(error),
            Some(pipeline) => Ok(analyzed(&plan, &pipeline, &open)),
            None => Ok(plan::explain(&plan, None)),
        }
    }

    /// What a query measures its time by. A clock that is advanced by hand stands still meanwhile.
    fn stopwatch(&self) -> Arc<dyn Clock> {
        match self.clock {
            ClockMode::System => self.machine_clock.clone(),
            ClockMode::Manual => Arc::new(ManualClock::default()),
        }
    }

    /// The relations a pipeline reads of which more rows may come.
    fn open_relations(&self, id: PipelineId) -> Vec<String> {
        let live = self.graph.pipelines.get(&id).into_iter().flat_map(|pipeline| pipeline.live.keys());
        live.filter(|relation| !self.graph.closed.contains(*relation)).map(|name| format!("\"{name}\"")).collect()
    }
}

fn analyzed(plan: &Plan, pipeline: &Pipeline, open: &[String]) -> String {
    let mut metrics = pipeline.metrics();
    // What nothing has come to has taken no time.
    metrics.iter_mut().for_each(|node| node.took(Some(Duration::ZERO)));
    let tree = plan::explain(plan, Some(&metrics));
    match open {
        [] => tree,
        open => format!(
            "{tree}\n{} not closed: this is what the rows that are there now have done, without what waits for the end",
            match open {
                [one] => format!("{one} is"),
                several => format!("{} are", several.join(", ")),
            }
        ),
    }
}
