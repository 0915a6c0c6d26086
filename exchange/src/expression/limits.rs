//! What a profile may cost. Whoever may write a profile must not be able to stop the manager or an agent with it.
//!
//! The size and shape of a text are checked before the CEL parser sees it; the work of an evaluation is counted while
//! it runs, whatever way it is spent (long lists, nested loops, texts that double themselves).
use super::{ExpressionError, Position};

/// Most characters of a text with holes, or of a condition.
pub const CHARACTERS: usize = 4096;
/// Most tokens in one expression. A node of the syntax tree takes at least one, so this bounds the tree too. The parser
/// recurses over chains like `a[0][0]…`: a quarter of the stack of a worker thread must do (`tests/corpus.rs`).
pub const TOKENS: usize = 500;
/// Deepest nesting of brackets, and most `?:` in one expression: the parser recurses into both.
pub const NESTING: usize = 32;
/// Deepest syntax tree. `a + b + …` is as deep as it has operands; evaluation recurses once per level.
pub const DEPTH: usize = 100;
/// Deepest nesting of `all`, `exists`, `exists_one`, `map` and `filter`. Three, as the status of a `CephFilesystem` has
/// peers in filesystems in daemons. It keeps texts readable; the time that loops take is bounded by [`WORK`].
pub const LOOPS: usize = 3;
/// Most characters of a regular expression.
pub const PATTERN: usize = 256;
/// Sizes of a compiled regular expression in bytes, and what a search with one costs per byte of text. The time that a
/// byte may take grows with the size: measured on adversarial patterns 0.4 µs for the first, 2 µs for the second. A
/// pattern over ASCII, like that of a name, fits into the first; `\w` is all of Unicode and takes 50 KiB.
pub(super) const PATTERNS: [(usize, usize); 2] = [(8 * 1024, 16), (128 * 1024, 256)];
/// Most bytes that come out of one evaluation: 1 MiB, the most that a Secret may hold.
pub const OUTPUT: usize = 1024 * 1024;
/// Most work of one evaluation, in the unit of [`Work`]. Spent in the slowest way it takes some 100 ms.
pub const WORK: usize = 10_000_000;
/// What the evaluation of one node costs, whatever it does.
pub(super) const NODE: usize = 10;

/// The work that an evaluation may still do. The unit is one byte copied or looked at.
#[derive(Debug)]
pub(super) struct Work(usize);

/// There is no work left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl Default for Work {
    fn default() -> Self {
        Self(WORK)
    }
}

impl Work {
    /// Takes some work off.
    pub fn spend(&mut self, amount: usize) -> Result<(), Exhausted> {
        let left = self.0.checked_sub(amount);
        // Once it is exhausted, nothing may go on at a lower price.
        self.0 = left.unwrap_or(0);
        left.map(|_| ()).ok_or(Exhausted)
    }

    /// Takes some work off for what stands at a position.
    pub fn charge(&mut self, at: Position, amount: usize) -> Result<(), ExpressionError> {
        self.spend(amount)
            .map_err(|Exhausted| ExpressionError::TooMuchWork { at })
    }
}
