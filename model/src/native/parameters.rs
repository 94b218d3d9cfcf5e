//! A model's parameters as the kernels read them, filled tensor by tensor in any order.
//!
//! What is multiplied with the same input is joined into one matrix: each tensor is packed straight to its place in
//! it, so that loading holds nothing twice.

use agon_model_kernels::{Format, Matrix};

use crate::config::Config;

/// Parameters of a whole model.
pub(crate) struct Parameters {
    pub(super) embedding: Matrix,
    /// `None` where the head is the embedding.
    head: Option<Matrix>,
    pub(super) norm: Vec<f32>,
    pub(super) layers: Vec<Layer>,
    /// Rows of queries and of keys in the joined matrix.
    rows: [usize; 2],
    /// Rows of the gate in its joined matrix.
    intermediate: usize,
}

/// Parameters of one layer.
pub(super) struct Layer {
    pub(super) attention_norm: Vec<f32>,
    /// Queries, keys and values, one below the other.
    pub(super) qkv: Matrix,
    pub(super) qkv_bias: Option<Vec<f32>>,
    /// Gains of the norms of queries and of keys, `[head_dim]` each.
    pub(super) head_norms: Option<[Vec<f32>; 2]>,
    pub(super) output: Matrix,
    pub(super) mlp_norm: Vec<f32>,
    /// Gate and up, one below the other.
    pub(super) gate_up: Matrix,
    pub(super) down: Matrix,
}

/// Where a tensor belongs.
enum Place<'parameters> {
    /// The rows of a matrix from this one on.
    Rows(&'parameters mut Matrix, usize),
    Numbers(&'parameters mut [f32]),
}

impl Parameters {
    /// Parameters that are all zero.
    pub(crate) fn zeros(config: &Config, format: Format) -> Parameters {
        let table = || Matrix::zeros(format, [config.vocabulary, config.hidden]);
        Parameters {
            embedding: table(),
            head: (!config.is_tied).then(table),
            norm: vec![0.0; config.hidden],
            layers: (0..config.layers).map(|_| Layer::zeros(config, format)).collect(),
            rows: [config.heads * config.head_dim, config.kv_heads * config.head_dim],
            intermediate: config.intermediate,
        }
    }

    pub(super) fn format(&self) -> Format {
        self.embedding.format()
    }

    pub(super) fn head(&self) -> &Matrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    /// Sets the numbers of a tensor from `first` on: whole rows of a matrix.
    ///
    /// # Panics
    ///
    /// When the tensor is none of those that the config calls for, or has fewer numbers.
    pub(crate) fn write(&mut self, tensor: &str, first: usize, numbers: &[f32]) {
        let place = self.place_of(tensor);
        match place.unwrap_or_else(|| panic!("{tensor} is a tensor of another architecture")) {
            Place::Rows(matrix, row) => {
                let row = row + first / matrix.columns();
                matrix.write_rows(row, numbers);
            }
            Place::Numbers(place) => place[first..first + numbers.len()].copy_from_slice(numbers),
        }
    }

    fn place_of(&mut self, tensor: &str) -> Option<Place<'_>> {
        match tensor {
            "model.embed_tokens.weight" => return Some(Place::Rows(&mut self.embedding, 0)),
            "lm_head.weight" => return Some(Place::Rows(self.head.as_mut()?, 0)),
            "model.norm.weight" => return Some(Place::Numbers(&mut self.norm)),
            _ => {}
        }
        let (layer, name) = tensor.strip_prefix("model.layers.")?.split_once('.')?;
        let layer = self.layers.get_mut(layer.parse::<usize>().ok()?)?;
        layer.place_of(name, self.rows, self.intermediate)
    }
}

impl Layer {
    fn zeros(config: &Config, format: Format) -> Layer {
        let Config {
            hidden,
            intermediate,
            heads,
            kv_heads,
            head_dim,
            ..
        } = *config;
        let width = (heads + 2 * kv_heads) * head_dim;
        let vector = |length: usize| vec![0.0; length];
        Layer {
            attention_norm: vector(hidden),
            qkv: Matrix::zeros(format, [width, hidden]),
            qkv_bias: config.architecture.has_attention_bias().then(|| vector(width)),
            head_norms: config
                .architecture
                .has_head_norms()
                .then(|| [vector(head_dim), vector(head_dim)]),
            output: Matrix::zeros(format, [hidden, heads * head_dim]),
            mlp_norm: vector(hidden),
            gate_up: Matrix::zeros(format, [2 * intermediate, hidden]),
            down: Matrix::zeros(format, [hidden, intermediate]),
        }
    }

    fn place_of(&mut self, name: &str, [queries, keys]: [usize; 2], gate: usize) -> Option<Place<'_>> {
        let (values, end) = (queries + keys, queries + 2 * keys);
        let place = match name {
            "input_layernorm.weight" => Place::Numbers(&mut self.attention_norm),
            "post_attention_layernorm.weight" => Place::Numbers(&mut self.mlp_norm),
            "self_attn.q_proj.weight" => Place::Rows(&mut self.qkv, 0),
            "self_attn.k_proj.weight" => Place::Rows(&mut self.qkv, queries),
            "self_attn.v_proj.weight" => Place::Rows(&mut self.qkv, values),
            "self_attn.q_proj.bias" => Place::Numbers(&mut self.qkv_bias.as_mut()?[..queries]),
            "self_attn.k_proj.bias" => Place::Numbers(&mut self.qkv_bias.as_mut()?[queries..values]),
            "self_attn.v_proj.bias" => Place::Numbers(&mut self.qkv_bias.as_mut()?[values..end]),
            "self_attn.q_norm.weight" => Place::Numbers(&mut self.head_norms.as_mut()?[0]),
            "self_attn.k_norm.weight" => Place::Numbers(&mut self.head_norms.as_mut()?[1]),
            "self_attn.o_proj.weight" => Place::Rows(&mut self.output, 0),
            "mlp.gate_proj.weight" => Place::Rows(&mut self.gate_up, 0),
            "mlp.up_proj.weight" => Place::Rows(&mut self.gate_up, gate),
            "mlp.down_proj.weight" => Place::Rows(&mut self.down, 0),
            _ => return None,
        };
        Some(place)
    }
}
