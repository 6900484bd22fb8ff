//! Work that a signal may end, and what must be done all the same before the program
//! does.

use std::future::Future;

use super::small_runtime;
use crate::cli::interrupt::Interrupt;
use crate::cli::report::CliError;

/// Runs `work` to its end, or drops it when a signal comes; then lets `cleaning` end
/// what it began.
pub(super) fn until_stopped<T>(
    work: impl Future<Output = Result<T, CliError>>,
    cleaning: impl Future<Output = ()>,
) -> Result<T, CliError> {
    let runtime = small_runtime()?;
    let result = runtime.block_on(async {
        let mut interrupt = Interrupt::new().map_err(CliError::failed)?;
        let result = tokio::select! {
            name = interrupt.received() => {
                tracing::warn!("{name}: cleaning up; once more ends it at once");
                Err(CliError::failed(anyhow::anyhow!("stopped by {name}")))
            }
            result = work => result,
        };
        interrupt.settle(cleaning).await;
        result
    });
    // A thread that waits for a lock or for a person keeps nobody.
    runtime.shutdown_background();
    result
}
