//! Waiting for a condition with a deadline, and telling why it did not come true.

use std::{
    fmt::Write,
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use crate::process::Register;

/// The time between two looks. Only tests and start-up wait this way; the product never polls.
const INTERVAL: Duration = Duration::from_millis(75);

type Dump<'a> = Box<dyn Fn() -> Pin<Box<dyn Future<Output = String> + Send + 'a>> + Send + Sync + 'a>;

/// Waits until `poll` gives a value. Errors of `poll` are retried, and the last one is told when the time is over.
pub async fn until<T, F, Fut>(what: &str, deadline: Duration, poll: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>>>,
{
    Wait::new(what, deadline).until(poll).await
}

/// A wait that is being described: what is waited for, how long, and what is printed when it does not come.
#[must_use]
pub struct Wait<'a> {
    what: String,
    deadline: Duration,
    register: Option<Register>,
    dumps: Vec<Dump<'a>>,
}

impl<'a> Wait<'a> {
    /// A wait for at most `deadline`.
    pub fn new(what: &str, deadline: Duration) -> Self {
        Self {
            what: what.to_owned(),
            deadline,
            register: None,
            dumps: Vec::new(),
        }
    }

    /// Gives up at once when a process that must run has died.
    pub fn register(mut self, register: &Register) -> Self {
        self.register = Some(register.clone());
        self
    }

    /// Adds something to print when the wait fails.
    pub fn dump<F, Fut>(mut self, dump: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'a,
        Fut: Future<Output = String> + Send + 'a,
    {
        self.dumps.push(Box::new(move || Box::pin(dump())));
        self
    }

    /// Waits until `poll` gives a value. Errors of `poll` are retried, and the last one is told when the time is over.
    pub async fn until<T, F, Fut>(self, mut poll: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Option<T>>>,
    {
        let start = Instant::now();
        let mut last = String::from("it was not so");
        loop {
            if let Some(register) = &self.register {
                register
                    .check()
                    .map_err(|error| anyhow!("while waiting for {}: {error:#}", self.what))?;
            }
            let remaining = self.deadline.saturating_sub(start.elapsed());
            match tokio::time::timeout(remaining, poll()).await {
                Ok(Ok(Some(value))) => return Ok(value),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => last = format!("{error:#}"),
                Err(_) => last += " (the last look took too long)",
            }
            if start.elapsed() >= self.deadline {
                return Err(self.failed(&last).await);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn failed(&self, last: &str) -> anyhow::Error {
        let mut message = format!("waited {:?} for {} in vain: {last}", self.deadline, self.what);
        for dump in &self.dumps {
            // Explaining must not hang where waiting did.
            let text = tokio::time::timeout(Duration::from_secs(20), dump()).await;
            let _ = write!(
                message,
                "\n{}",
                text.unwrap_or_else(|_| "(no explanation in time)".to_owned())
            );
        }
        anyhow!(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_wait_tells_the_last_error_and_the_dumps() {
        let wait = Wait::new("the moon", Duration::ZERO).dump(|| async { "it is new".to_owned() });
        let error = wait
            .until(|| async { Err::<Option<()>, _>(anyhow!("no light")) })
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("the moon") && error.contains("no light") && error.ends_with("it is new"),
            "{error}"
        );
    }
}
