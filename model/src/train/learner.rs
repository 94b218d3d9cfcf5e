//! A Qwen2 model with its optimizer: forward, backward, step, checkpoint.

use super::adamw::AdamW;
use super::batch::Batch;
use std::path::Path;
use tch::{Device, Kind, TchError, Tensor};
use thiserror::Error;

pub(crate) const NORM_EPSILON: f64 = 1e-6;
pub(crate) const ROPE_THETA: f64 = 10_000.0;
/// The longest position a model is trained for, written to its config.
pub(crate) const POSITIONS_MAX: i64 = 256;

/// The size of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Tokens in the vocabulary.
    pub vocab: i64,
    /// Width of the residual stream.
    pub width: i64,
    /// Number of layers.
    pub layers: i64,
    /// Attention heads, each of `width / heads`, which must be even.
    pub heads: i64,
    /// Width between the two matrices of the feed-forward part.
    pub mlp: i64,
}

impl Shape {
    /// Parameters in all, those of the norms included; the head is the embedding.
    pub fn parameter_count(&self) -> i64 {
        let Self {
            vocab,
            width,
            layers,
            mlp,
            ..
        } = *self;
        vocab * width + width + layers * (4 * width * width + 3 * width + 3 * width * mlp + 2 * width)
    }
}

/// Why a checkpoint could not be written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LearnerError {
    /// Libtorch could not read or write the file.
    #[error("checkpoint: {0}")]
    File(#[from] TchError),
    /// The file lacks a tensor, or has it in another shape.
    #[error("checkpoint has no tensor {name} of shape {shape:?}")]
    Missing {
        /// Name of the tensor.
        name: String,
        /// The shape that was expected.
        shape: Vec<i64>,
    },
}

/// What one step did.
#[derive(Clone, Debug)]
pub struct Step {
    /// Mean cross-entropy over the targets, in nats.
    pub loss: f64,
    /// For each target of the batch, whether the most likely token was the right one.
    pub right: Vec<bool>,
    /// For each target of the batch, the probability of the right token.
    pub probability: Vec<f32>,
}

/// Places of a layer's parameters in [`Learner::parameters`], after embedding and final gain.
const LAYER_TENSORS: usize = 5;

/// A model in training.
#[derive(Debug)]
pub struct Learner {
    network: Network,
    optimizer: AdamW,
}

/// The parameters and what is done with them.
#[derive(Debug)]
struct Network {
    shape: Shape,
    /// Embedding, final gain, then per layer: qkv weight, qkv bias, output, gate and up, down.
    parameters: Vec<Tensor>,
    cos: Tensor,
    sin: Tensor,
}

impl Learner {
    /// Starts from random parameters: normal, with a deviation of one over the root of the input width.
    ///
    /// The seed fixes them on one version of libtorch.
    ///
    /// # Panics
    ///
    /// When the heads do not divide the width into even parts: shapes are written by us.
    pub fn new(shape: Shape, seed: i64) -> Self {
        assert!(
            shape.width % (2 * shape.heads) == 0,
            "heads of even width make up the width"
        );
        tch::manual_seed(seed);
        let parameters: Vec<Tensor> = names_and_shapes(&shape)
            .into_iter()
            .map(|(name, size)| initial(&name, &size).set_requires_grad(true))
            .collect();
        let (cos, sin) = rotations(shape.width / shape.heads);
        let optimizer = AdamW::new(&parameters);
        Self {
            network: Network {
                shape,
                parameters,
                cos,
                sin,
            },
            optimizer,
        }
    }

    /// The model's size.
    pub fn shape(&self) -> &Shape {
        &self.network.shape
    }

    /// Takes one step of AdamW at the given learning rate on the targets of all batches.
    ///
    /// Each batch is computed on a thread of its own. The gradients are added in the order of the batches,
    /// so that the result does not depend on which thread is ready first.
    pub fn step(&mut self, batches: &[&Batch], rate: f64) -> Vec<Step> {
        let targets: usize = batches.iter().map(|batch| batch.targets.len()).sum();
        let network = &self.network;
        let parts: Vec<(Step, Vec<Tensor>)> = std::thread::scope(|scope| {
            let workers: Vec<_> = batches
                .iter()
                .map(|&batch| {
                    let network = network.share();
                    scope.spawn(move || network.gradients(batch, batch.targets.len() as f64 / targets as f64))
                })
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().expect("a worker only computes"))
                .collect()
        });
        let (steps, gradients): (Vec<Step>, Vec<Vec<Tensor>>) = parts.into_iter().unzip();
        if let Some(gradients) = gradients.into_iter().reduce(add_all) {
            self.optimizer
                .step(&mut self.network.parameters, &gradients, rate);
        }
        steps
    }

    /// Predicts the batch's targets without learning from them.
    pub fn predict(&self, batch: &Batch) -> Step {
        tch::set_num_threads(1);
        let _no_grad = tch::no_grad_guard();
        let (logits, loss) = self.network.forward(batch);
        report(batch, &logits, &loss)
    }

    /// The parameters with their names in this module: `embedding`, `gain`, `0.qkv` and so on.
    pub(crate) fn named(&self) -> Vec<(String, &Tensor)> {
        names_and_shapes(&self.network.shape)
            .into_iter()
            .map(|(name, _)| name)
            .zip(&self.network.parameters)
            .collect()
    }

    /// Sets parameters by name; `find` gives each in `f32`.
    pub(crate) fn set(&mut self, mut find: impl FnMut(&str) -> Option<Tensor>) -> Result<(), LearnerError> {
        let _no_grad = tch::no_grad_guard();
        let names = names_and_shapes(&self.network.shape);
        for ((name, shape), parameter) in names.into_iter().zip(&mut self.network.parameters) {
            let found = find(&name).filter(|tensor| tensor.size() == shape);
            parameter.copy_(&found.ok_or(LearnerError::Missing { name, shape })?);
        }
        Ok(())
    }

    /// Rounds every parameter to `bf16`, as the saved model has it.
    pub fn round_to_bf16(&mut self) {
        let _no_grad = tch::no_grad_guard();
        for parameter in &mut self.network.parameters {
            parameter.copy_(&parameter.to_kind(Kind::BFloat16).to_kind(Kind::Float));
        }
    }

    /// Writes parameters and the optimizer's state, in `f32`, to a safetensors file.
    ///
    /// # Errors
    ///
    /// [`LearnerError::File`] when the file cannot be written.
    pub fn save_checkpoint(&self, path: &Path) -> Result<(), LearnerError> {
        let _no_grad = tch::no_grad_guard();
        let mut tensors = vec![("steps".to_owned(), Tensor::from_slice(&[self.optimizer.steps]))];
        for (index, (name, parameter)) in self.named().into_iter().enumerate() {
            tensors.push((
                format!("mean.{name}"),
                self.optimizer.means[index].shallow_clone(),
            ));
            tensors.push((
                format!("square.{name}"),
                self.optimizer.squares[index].shallow_clone(),
            ));
            tensors.push((name, parameter.detach()));
        }
        Ok(Tensor::write_safetensors(&tensors, path)?)
    }

    /// Goes on from a file of [`save_checkpoint`](Self::save_checkpoint) of the same shape.
    ///
    /// # Errors
    ///
    /// [`LearnerError::File`] when the file cannot be read, [`LearnerError::Missing`] when it is of another
    /// shape.
    pub fn load_checkpoint(&mut self, path: &Path) -> Result<(), LearnerError> {
        let tensors: std::collections::BTreeMap<String, Tensor> =
            Tensor::read_safetensors(path)?.into_iter().collect();
        let find = |name: String| tensors.get(&name).map(Tensor::shallow_clone);
        self.set(|name| find(name.to_owned()))?;
        let missing = |name: &str, shape: &[i64]| LearnerError::Missing {
            name: name.to_owned(),
            shape: shape.to_vec(),
        };
        let steps = find("steps".to_owned()).ok_or_else(|| missing("steps", &[1]))?;
        self.optimizer.steps = i64::try_from(&steps.view([-1]).select(0, 0))?;
        for (index, (name, shape)) in names_and_shapes(&self.network.shape).into_iter().enumerate() {
            let state = |part: &str| {
                find(format!("{part}.{name}"))
                    .filter(|tensor| tensor.size() == shape)
                    .ok_or_else(|| missing(&format!("{part}.{name}"), &shape))
            };
            self.optimizer.means[index] = state("mean")?;
            self.optimizer.squares[index] = state("square")?;
        }
        Ok(())
    }
}

impl Network {
    /// The same parameters for another thread, which only reads them.
    fn share(&self) -> Self {
        Self {
            shape: self.shape,
            parameters: self.parameters.iter().map(Tensor::shallow_clone).collect(),
            cos: self.cos.shallow_clone(),
            sin: self.sin.shallow_clone(),
        }
    }

    /// What one batch does, and the gradient of its loss times `share` in every parameter.
    fn gradients(&self, batch: &Batch, share: f64) -> (Step, Vec<Tensor>) {
        // Threads of libtorch are counted per thread of ours: without this each would start its own.
        tch::set_num_threads(1);
        let (logits, loss) = self.forward(batch);
        let gradients = Tensor::run_backward(&[&loss * share], &self.parameters, false, false);
        (report(batch, &logits, &loss), gradients)
    }

    /// Logits at the targets, `[targets, vocab]`, and their mean cross-entropy.
    fn forward(&self, batch: &Batch) -> (Tensor, Tensor) {
        let (rows, length) = (batch.rows as i64, batch.length as i64);
        let at: Vec<i64> = batch.targets.iter().map(|target| target.at as i64).collect();
        let right: Vec<i64> = batch.targets.iter().map(|target| i64::from(target.id)).collect();
        let positions = Tensor::from_slice(&batch.positions);
        let place = Place {
            rows,
            length,
            at: Tensor::from_slice(&at),
            mask: Tensor::from_slice(&batch.mask).view([rows, 1, length, length]),
            cos: self
                .cos
                .index_select(0, &positions)
                .view([rows, length, 1, 1, -1]),
            sin: self
                .sin
                .index_select(0, &positions)
                .view([rows, length, 1, 1, -1]),
        };
        let embedding = &self.parameters[0];
        let mut stream = embedding.index_select(0, &Tensor::from_slice(&batch.ids));
        for layer in 0..self.shape.layers {
            stream = self.layer(layer, stream, &place);
        }
        let logits = (norm(&stream) * &self.parameters[1]).matmul(&embedding.tr());
        let loss = logits.cross_entropy_for_logits(&Tensor::from_slice(&right));
        (logits, loss)
    }

    /// One layer on `[rows * length, width]`. The last one goes on with the targets' positions alone.
    fn layer(&self, layer: i64, stream: Tensor, place: &Place) -> Tensor {
        let start = 2 + LAYER_TENSORS * layer as usize;
        let [qkv, qkv_bias, output, gate_up, down] = &self.parameters[start..start + LAYER_TENSORS] else {
            unreachable!("a layer has a fixed number of tensors")
        };
        let mixed = self.attend(&norm(&stream).linear(qkv, Some(qkv_bias)), place);
        let (mixed, stream) = if layer + 1 == self.shape.layers {
            (
                mixed.index_select(0, &place.at),
                stream.index_select(0, &place.at),
            )
        } else {
            (mixed, stream)
        };
        let stream = stream + mixed.linear::<Tensor>(output, None);
        let halves = norm(&stream).linear::<Tensor>(gate_up, None).chunk(2, -1);
        &stream + (halves[0].silu() * &halves[1]).linear::<Tensor>(down, None)
    }

    /// Attention over `[rows * length, 3 * width]`, giving `[rows * length, width]`.
    fn attend(&self, qkv: &Tensor, place: &Place) -> Tensor {
        let Shape { heads, width, .. } = self.shape;
        let (head, length) = (width / heads, place.length);
        let qkv = qkv.view([place.rows, length, 3, heads, head]);
        let straight = qkv.narrow(2, 0, 2);
        let turned = straight.roll([head / 2], [-1]);
        let rotated = straight * &place.cos + turned * &place.sin;
        let [query, key] = [0, 1].map(|part| rotated.select(2, part).transpose(1, 2));
        let value = qkv.select(2, 2).transpose(1, 2);
        Tensor::scaled_dot_product_attention(&query, &key, &value, Some(&place.mask), 0.0, false, None, false)
            .transpose(1, 2)
            .reshape([-1, width])
    }
}

fn add_all(sums: Vec<Tensor>, more: Vec<Tensor>) -> Vec<Tensor> {
    sums.into_iter().zip(more).map(|(sum, more)| sum + more).collect()
}

/// What all layers share in one batch.
struct Place {
    rows: i64,
    length: i64,
    at: Tensor,
    mask: Tensor,
    cos: Tensor,
    sin: Tensor,
}

fn names_and_shapes(shape: &Shape) -> Vec<(String, Vec<i64>)> {
    let Shape {
        vocab,
        width,
        layers,
        mlp,
        ..
    } = *shape;
    let mut all = vec![
        ("embedding".to_owned(), vec![vocab, width]),
        ("gain".to_owned(), vec![width]),
    ];
    for layer in 0..layers {
        all.push((format!("{layer}.qkv"), vec![3 * width, width]));
        all.push((format!("{layer}.qkv_bias"), vec![3 * width]));
        all.push((format!("{layer}.output"), vec![width, width]));
        all.push((format!("{layer}.gate_up"), vec![2 * mlp, width]));
        all.push((format!("{layer}.down"), vec![width, mlp]));
    }
    all
}

fn initial(name: &str, size: &[i64]) -> Tensor {
    let options = (Kind::Float, Device::Cpu);
    match size {
        [_] if name == "gain" => Tensor::ones(size, options),
        [_] => Tensor::zeros(size, options),
        _ => Tensor::randn(size, options) / (size[1] as f64).sqrt(),
    }
}

/// Divides each row by its root mean square.
fn norm(stream: &Tensor) -> Tensor {
    let mean = stream.square().mean_dim([-1i64].as_slice(), true, Kind::Float);
    stream * (mean + NORM_EPSILON).rsqrt()
}

/// Cosines and signed sines for all positions, `[POSITIONS_MAX, head]`.
///
/// A head's second half is turned against its first, as in transformers: with `x` rolled by half a head,
/// the rotation is `x * cos + rolled * sin` when the first half's sines are negative.
fn rotations(head: i64) -> (Tensor, Tensor) {
    let half = Tensor::arange(head / 2, (Kind::Float, Device::Cpu));
    let frequency = (half * (-2.0 * ROPE_THETA.ln() / head as f64)).exp();
    let angle = Tensor::arange(POSITIONS_MAX, (Kind::Float, Device::Cpu)).outer(&frequency);
    let (cos, sin) = (angle.cos(), angle.sin());
    (Tensor::cat(&[&cos, &cos], -1), Tensor::cat(&[&-&sin, &sin], -1))
}

fn report(batch: &Batch, logits: &Tensor, loss: &Tensor) -> Step {
    let _no_grad = tch::no_grad_guard();
    let ids: Vec<i64> = batch.targets.iter().map(|target| i64::from(target.id)).collect();
    let likely: Vec<i64> = (&logits.argmax(-1, false)).try_into().expect("one id per target");
    let right_logits =
        logits
            .softmax(-1, Kind::Float)
            .gather(1, &Tensor::from_slice(&ids).view([-1, 1]), false);
    let probability: Vec<f32> = (&right_logits.view([-1]))
        .try_into()
        .expect("one probability per target");
    let right = likely.iter().zip(&ids).map(|(likely, id)| likely == id).collect();
    Step {
        loss: loss.double_value(&[]),
        right,
        probability,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{Branch, Passage};

    const SHAPE: Shape = Shape {
        vocab: 12,
        width: 16,
        layers: 2,
        heads: 2,
        mlp: 32,
    };

    /// Passages whose answer is the token that followed the asked one in the context.
    fn lesson() -> Vec<Passage> {
        let branch = |after: u32| Branch {
            reads: 4,
            prompt: vec![after],
            answer: vec![after + 4],
        };
        (2..6)
            .map(|first| Passage {
                context: vec![first, first + 4, 7 - first, 11 - first],
                branches: vec![branch(first)],
            })
            .collect()
    }

    #[test]
    fn the_loss_falls() {
        tch::set_num_threads(1);
        let mut learner = Learner::new(SHAPE, 1);
        let batch = Batch::pack(&lesson());
        let first = learner.step(&[&batch], 3e-3)[0].loss;
        let last = (0..60)
            .map(|_| learner.step(&[&batch], 3e-3)[0].loss)
            .last()
            .expect("steps were taken");
        assert!(last < first / 4.0, "{first} to {last}");
        assert!(learner.predict(&batch).right.iter().all(|&right| right));
    }

    #[test]
    fn branches_are_predicted_as_if_each_were_asked_alone() {
        tch::set_num_threads(1);
        let learner = Learner::new(SHAPE, 2);
        let branches = vec![
            Branch {
                reads: 2,
                prompt: vec![5, 6],
                answer: vec![7, 1],
            },
            Branch {
                reads: 4,
                prompt: vec![8],
                answer: vec![9],
            },
        ];
        let context = vec![2, 3, 4, 5];
        let together = Passage {
            context: context.clone(),
            branches: branches.clone(),
        };
        let packed = learner
            .predict(&Batch::pack(&[together.clone(), together]))
            .probability;
        for (index, branch) in branches.into_iter().enumerate() {
            let alone = Passage {
                context: context[..branch.reads].to_vec(),
                branches: vec![branch],
            };
            let expected = learner.predict(&Batch::pack(&[alone])).probability;
            for (got, want) in packed[2 * index..].iter().zip(expected) {
                assert!((got - want).abs() < 1e-5, "branch {index}: {got} and {want}");
            }
        }
    }

    #[test]
    fn training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped() {
        tch::set_num_threads(1);
        let path = std::env::temp_dir().join(format!("agon-checkpoint-{}.safetensors", std::process::id()));
        let batch = Batch::pack(&lesson());
        let mut learner = Learner::new(SHAPE, 3);
        learner.step(&[&batch], 3e-3);
        learner.save_checkpoint(&path).expect("a writable folder");
        let mut resumed = Learner::new(SHAPE, 4);
        resumed
            .load_checkpoint(&path)
            .expect("a checkpoint of the same shape");
        std::fs::remove_file(&path).expect("the file was written");
        for _ in 0..3 {
            assert_eq!(
                learner.step(&[&batch], 3e-3)[0].loss,
                resumed.step(&[&batch], 3e-3)[0].loss
            );
        }
    }
}
