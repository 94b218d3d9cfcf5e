//! Passages laid out as rows of tokens with the mask that keeps them apart.

/// A context, and the continuations that are asked for after parts of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// Token ids that the branches read.
    pub context: Vec<u32>,
    /// Continuations; none sees another.
    pub branches: Vec<Branch>,
}

/// One continuation of a passage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Branch {
    /// How many tokens of the context it reads, from the first.
    pub reads: usize,
    /// Token ids that lead to the answer; at least one.
    pub prompt: Vec<u32>,
    /// Token ids to be learned, in order; the last one is predicted but never read.
    pub answer: Vec<u32>,
}

impl Passage {
    /// Tokens that the passage takes up in a row.
    pub fn token_count(&self) -> usize {
        self.context.len() + self.branches.iter().map(Branch::token_count).sum::<usize>()
    }
}

impl Branch {
    fn token_count(&self) -> usize {
        (self.prompt.len() + self.answer.len()).saturating_sub(1)
    }
}

/// A token to be predicted, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The position from which it is predicted, counted through all rows.
    pub at: usize,
    /// The token that is right.
    pub id: u32,
    /// Which of the packed passages it belongs to.
    pub passage: usize,
    /// Which branch of that passage.
    pub branch: usize,
    /// Which token of the branch's answer.
    pub offset: usize,
}

/// Rows of equal length, ready to become tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Number of rows.
    pub rows: usize,
    /// Tokens per row.
    pub length: usize,
    /// Token ids, `[rows, length]`; unused places hold 0.
    pub ids: Vec<i64>,
    /// Positions for the rotation, `[rows, length]`.
    pub positions: Vec<i64>,
    /// What is added to attention scores, `[rows, length, length]`: 0 where the query sees the key, else
    /// negative infinity. Unused places see themselves, so that no row of scores is empty.
    pub mask: Vec<f32>,
    /// What is to be predicted, in the order of passages, branches and answer tokens.
    pub targets: Vec<Target>,
}

impl Batch {
    /// Lays passages out in rows as long as the longest of them, several short ones to a row.
    ///
    /// # Panics
    ///
    /// When a branch reads more than its context, or has an empty prompt or answer: callers make these.
    pub fn pack(passages: &[Passage]) -> Self {
        let length = passages.iter().map(Passage::token_count).max().unwrap_or(0);
        let places = first_fit(passages, length);
        let rows = places.iter().map(|place| place.0 + 1).max().unwrap_or(0);
        let mut batch = Self {
            rows,
            length,
            ids: vec![0; rows * length],
            positions: vec![0; rows * length],
            mask: vec![f32::NEG_INFINITY; rows * length * length],
            targets: Vec::new(),
        };
        for at in 0..rows * length {
            batch.mask[at * length + at % length] = 0.0;
        }
        for (number, (passage, (row, start))) in passages.iter().zip(places).enumerate() {
            batch.lay(number, passage, row, start);
        }
        batch
    }

    fn lay(&mut self, number: usize, passage: &Passage, row: usize, start: usize) {
        self.write(row, start, 0, &passage.context);
        for at in 0..passage.context.len() {
            self.see(row, start + at, start..start + at + 1);
        }
        let mut next = start + passage.context.len();
        for (branch_number, branch) in passage.branches.iter().enumerate() {
            assert!(
                branch.reads <= passage.context.len(),
                "a branch reads its own context"
            );
            assert!(
                !branch.prompt.is_empty() && !branch.answer.is_empty(),
                "a branch leads to something"
            );
            let read = [&branch.prompt[..], &branch.answer[..branch.answer.len() - 1]].concat();
            self.write(row, next, branch.reads, &read);
            for at in 0..read.len() {
                self.see(row, next + at, start..start + branch.reads);
                self.see(row, next + at, next..next + at + 1);
            }
            for (offset, &id) in branch.answer.iter().enumerate() {
                let at = row * self.length + next + branch.prompt.len() - 1 + offset;
                self.targets.push(Target {
                    at,
                    id,
                    passage: number,
                    branch: branch_number,
                    offset,
                });
            }
            next += read.len();
        }
    }

    fn write(&mut self, row: usize, start: usize, position: usize, ids: &[u32]) {
        for (offset, &id) in ids.iter().enumerate() {
            let at = row * self.length + start + offset;
            self.ids[at] = i64::from(id);
            self.positions[at] = (position + offset) as i64;
        }
    }

    fn see(&mut self, row: usize, query: usize, keys: std::ops::Range<usize>) {
        let start = (row * self.length + query) * self.length;
        self.mask[start + keys.start..start + keys.end].fill(0.0);
    }
}

/// Finds a row and a start for each passage: the first row with room.
fn first_fit(passages: &[Passage], length: usize) -> Vec<(usize, usize)> {
    let mut used: Vec<usize> = Vec::new();
    let mut places = Vec::with_capacity(passages.len());
    for passage in passages {
        let count = passage.token_count();
        let row = used
            .iter()
            .position(|&taken| taken + count <= length)
            .unwrap_or(used.len());
        if row == used.len() {
            used.push(0);
        }
        places.push((row, used[row]));
        used[row] += count;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(context: &[u32], branches: &[(usize, &[u32], &[u32])]) -> Passage {
        let branch = |&(reads, prompt, answer): &(usize, &[u32], &[u32])| Branch {
            reads,
            prompt: prompt.to_vec(),
            answer: answer.to_vec(),
        };
        Passage {
            context: context.to_vec(),
            branches: branches.iter().map(branch).collect(),
        }
    }

    /// The positions that the token at `query` of the only row sees.
    fn seen(batch: &Batch, query: usize) -> Vec<usize> {
        (0..batch.length)
            .filter(|key| batch.mask[query * batch.length + key] == 0.0)
            .collect()
    }

    #[test]
    fn a_branch_sees_what_it_reads_and_itself_only() {
        let batch = Batch::pack(&[passage(
            &[10, 11, 12],
            &[(2, &[20, 21], &[30, 1]), (3, &[22], &[31])],
        )]);
        assert_eq!(batch.ids, [10, 11, 12, 20, 21, 30, 22]);
        assert_eq!(batch.positions, [0, 1, 2, 2, 3, 4, 3]);
        assert_eq!(seen(&batch, 2), [0, 1, 2]);
        assert_eq!(seen(&batch, 5), [0, 1, 3, 4, 5]);
        assert_eq!(seen(&batch, 6), [0, 1, 2, 6]);
        let targets: Vec<(usize, u32)> = batch
            .targets
            .iter()
            .map(|target| (target.at, target.id))
            .collect();
        assert_eq!(targets, [(4, 30), (5, 1), (6, 31)]);
    }

    #[test]
    fn short_passages_share_a_row_and_do_not_see_each_other() {
        let short = passage(&[10], &[(1, &[20], &[30])]);
        let long = passage(&[11, 12, 13], &[(3, &[21], &[31])]);
        let batch = Batch::pack(&[short.clone(), long, short]);
        assert_eq!((batch.rows, batch.length), (2, 4));
        assert_eq!(&batch.ids[..4], [10, 20, 10, 20]);
        assert_eq!(seen(&batch, 3), [2, 3]);
        assert_eq!(
            batch.targets.iter().map(|target| target.at).collect::<Vec<_>>(),
            [1, 7, 3]
        );
    }

    #[test]
    fn nothing_packs_into_nothing() {
        assert_eq!(Batch::pack(&[]).rows, 0);
    }
}
