//! `DROP`.

use crate::error::{Code, Result};
use crate::recovery::PipelineId;
use crate::sql::{Drop, Name, ObjectKind};

use super::super::core::{Core, Done};
use super::super::pipeline::Destination;
use super::{at, kind_name};

impl Core {
    pub(super) fn drop_object(&mut self, drop: &Drop) -> Result<Done> {
        let name = &drop.name.value;
        let Some(kind) = self.kind_of(name) else {
            return match drop.if_exists {
                true => Ok(Done::Message(format!("there is no {} \"{name}\"", kind_name(drop.kind)))),
                false => Err(self.not_found(kind_name(drop.kind), &drop.name)),
            };
        };
        if kind != drop.kind {
            let (is, wanted) = (kind_name(kind), kind_name(drop.kind));
            return Err(at(&drop.name, Code::InvalidArgument, format!("\"{name}\" is a {is}, not a {wanted}"))
                .hint(format!("Write DROP {} {name}.", is.to_uppercase()))
                .into());
        }
        self.refuse_if_depended_on(&drop.name)?;
        self.forget(name)?;
        Ok(Done::Message(format!("dropped {} \"{name}\"", kind_name(kind))))
    }

    /// Fails if something reads `name`, and says what.
    pub(super) fn refuse_if_depended_on(&self, name: &Name) -> Result<()> {
        let views = (self.views.iter())
            .filter(|(_, view)| view.depends_on.contains(&name.value))
            .map(|(dependent, view)| format!("{} \"{dependent}\"", kind_name(view.kind)));
        let pipelines = (self.graph.pipelines.values())
            .filter(|pipeline| pipeline.depends_on.contains(&name.value))
            .map(|pipeline| pipeline.label.clone());
        let dependents: Vec<String> = views.chain(pipelines).collect();
        if dependents.is_empty() {
            return Ok(());
        }
        let message = format!("\"{}\" is read by {}", name.value, dependents.join(", "));
        Err(at(name, Code::InvalidArgument, message).hint("Drop or close what reads it first.").into())
    }

    /// Forgets what `name` names. A sink is finished; what writes to it is stopped.
    pub(super) fn forget(&mut self, name: &str) -> Result<()> {
        let feeds = |destination: &Destination| match destination {
            Destination::Relation(fed) | Destination::View(fed, _) | Destination::Sink(fed) => **fed == *name,
            Destination::Pending(_) | Destination::Discard => false,
        };
        let writers: Vec<PipelineId> = (self.graph.pipelines.iter())
            .filter(|(_, pipeline)| feeds(&pipeline.destination))
            .map(|(id, _)| *id)
            .collect();
        for id in writers {
            self.stop(id);
        }
        self.catalog.relations.remove(name);
        self.views.remove(name);
        self.graph.tables.remove(name);
        self.graph.partitions.remove(name);
        self.graph.closed.remove(name);
        self.graph.counts.remove(name);
        self.store.forget_relation(name);
        match self.catalog.sinks.remove(name) {
            Some(_) => self.graph.sinks.drop(name),
            None => Ok(()),
        }
    }
}

impl Core {
    /// Whether `kind` is what `SHOW kind` lists.
    pub(super) fn is_kind(&self, name: &str, kind: ObjectKind) -> bool {
        kind == ObjectKind::All || self.kind_of(name) == Some(kind)
    }
}
