use std::fmt;

use super::{Families, Labels, service};
use crate::status::Worker;

pub(super) fn encode(families: &mut Families<'_>, worker: &Worker) -> fmt::Result {
    let mut description = vec![("balancer", worker.balancer.clone())];
    description.extend(worker.image.clone().map(|image| ("image", image)));
    families.info("cplb_worker", "What balances on this worker node", [description])?;
    families.gauge(
        "cplb_worker_connections_draining",
        "Client connections still open through ports that a reload closed",
        [(vec![], worker.draining as u64)],
    )?;
    let konnectivity = worker.konnectivity.iter().map(|it| (Labels::new(), it));
    service::encode(families, "cplb_konnectivity", &konnectivity.collect::<Vec<_>>())
}
