//! Waits until nothing happens any more. A scenario that shows that nothing is written must not begin to look while what came
//! before is still being written: one condition that has come true does not tell that the others have.
use std::{cell::RefCell, future::Future, time::Duration};

use anyhow::Result;
use testenv::Env;

/// So many looks in a row see the same. They are looks and not seconds, as a busy machine takes longer for both; ten seconds of
/// them at least, as a work agent reports every five seconds and up to 90 % later, and its report is answered.
const LOOKS: usize = 130;

/// Waits until what `look` gives stays as it is; returns it.
pub async fn quiet<T, F, Fut>(env: &Env, what: &str, patience: Duration, look: F) -> Result<T>
where
    T: PartialEq,
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let seen = RefCell::new(None::<(T, usize)>);
    // Looks add up: each of them may be as slow as what others wait for.
    env.until(&format!("{what} to stay as it is"), patience * 4, || async {
        let now = look().await?;
        let mut seen = seen.borrow_mut();
        match seen.as_mut().filter(|(before, _)| *before == now) {
            Some((_, looks)) => *looks += 1,
            None => *seen = Some((now, 0)),
        }
        let enough = seen.as_ref().is_some_and(|(_, looks)| *looks >= LOOKS);
        Ok(if enough { seen.take().map(|(now, _)| now) } else { None })
    })
    .await
}
