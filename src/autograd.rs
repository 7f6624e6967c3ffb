//! Reverse-mode differentiation: the graph, `backward`, and the only place that adds gradients.
//!
//! Define-by-run, as in PyTorch. A node holds its parents and one closure that *returns* the gradient of each parent;
//! rules never accumulate in place, so none can overwrite where it should add; one whose kernel can add on the way takes the sum so
//! far and returns both. Nodes are numbered in creation order and a parent
//! is always older than its child, so taking the youngest node first visits every node after all its uses: `backward` is
//! a loop over a heap, without recursion and without a separate sort. Dropping a graph is a loop too.
//!
//! What a closure needs later it states as *saved* tensors. They are kept without their own graph, so a closure never
//! keeps nodes alive, and with their version: a write in place between forward and backward is caught. The machine counts the
//! writes itself, of every launch, copy and upload, so no writer has to say that it is one.

use std::cell::Cell;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static NEXT_NODE: AtomicU64 = AtomicU64::new(0);

/// A tensor's place in the graph.
pub(crate) struct Node {
    id: u64,
    op: &'static str,
    parents: Vec<Option<Arc<Node>>>,
    shape: Shape,
    /// Type that its gradient is added up in: the tensor's, or `f32` for an `f16` copy of an `f32` tensor.
    dtype: DType,
    /// `None` for a leaf, and after backward has run.
    rule: Mutex<Option<Rule>>,
    leaf: bool,
}

/// Returns one gradient a parent; `None` where there is none or nobody wants it.
type BackwardFn = dyn FnOnce(&Backward<'_>) -> Vec<Option<Tensor>> + Send;

struct Rule {
    saved: Vec<Tensor>,
    versions: Vec<u64>,
    backward: Box<BackwardFn>,
}

/// What a backward rule gets.
pub struct Backward<'a> {
    /// Gradient of the loss with respect to the op's output, in the output's shape.
    pub dy: &'a Tensor,
    saved: &'a [Tensor],
    wanted: &'a [Option<DType>],
    sums: &'a [Option<Tensor>],
    taken: &'a [Cell<bool>],
}

impl Backward<'_> {
    /// The gradient of parent `i` that other nodes have made so far, if its type is `dtype`: a rule that takes it returns the sum of
    /// both. One kernel then writes what would be written, read and written again.
    pub(crate) fn take_sum(&self, i: usize, dtype: DType) -> Option<Tensor> {
        let sum = self.sums[i].as_ref().filter(|sum| sum.dtype() == dtype)?;
        self.taken[i].set(true);
        Some(sum.clone())
    }

    /// The saved tensors, in the order they were given.
    ///
    /// # Panics
    /// If `N` is not their number.
    #[must_use]
    pub fn saved<const N: usize>(&self) -> &[Tensor; N] {
        self.saved.try_into().expect("a rule asks for as many tensors as were saved")
    }

    /// All saved tensors, where their number varies.
    #[must_use]
    pub fn saved_slice(&self) -> &[Tensor] {
        self.saved
    }

    /// Whether parent `i` wants a gradient; returning `None` for one that does not saves the work.
    #[must_use]
    pub fn needs(&self, i: usize) -> bool {
        self.wanted[i].is_some()
    }

    /// The type that parent `i`'s gradient is added up in. Another float type is cast to it; a rule that can write this one
    /// at once saves the cast and, where it is `f32` for a weight used in `f16`, the rounding.
    #[must_use]
    pub fn dtype(&self, i: usize) -> DType {
        self.wanted[i].unwrap_or(self.dy.dtype())
    }
}

impl Node {
    /// A leaf: a tensor that a gradient is wanted for.
    pub(crate) fn leaf(shape: Shape, dtype: DType) -> Arc<Self> {
        Arc::new(Self {
            id: NEXT_NODE.fetch_add(1, Ordering::Relaxed),
            op: "leaf",
            parents: vec![],
            shape,
            dtype,
            rule: Mutex::new(None),
            leaf: true,
        })
    }

    /// The node of an op's output; `dtype` is that of its gradient.
    pub(crate) fn new(
        op: &'static str,
        (shape, dtype): (Shape, DType),
        parents: Vec<Option<Arc<Node>>>,
        saved: &[&Tensor],
        backward: impl FnOnce(&Backward<'_>) -> Vec<Option<Tensor>> + Send + 'static,
    ) -> Arc<Self> {
        let saved: Vec<Tensor> = saved.iter().map(|t| t.stop_gradient()).collect();
        let versions = saved.iter().map(Tensor::version).collect();
        Arc::new(Self {
            id: NEXT_NODE.fetch_add(1, Ordering::Relaxed),
            op,
            parents,
            shape,
            dtype,
            rule: Mutex::new(Some(Rule { saved, versions, backward: Box::new(backward) })),
            leaf: false,
        })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Type that the tensor's gradient is added up in.
    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }
}

/// Unlinks the graph in a loop, so that one of any depth drops on a small stack.
impl Drop for Node {
    fn drop(&mut self) {
        let mut pending: Vec<Arc<Node>> = self.parents.drain(..).flatten().collect();
        while let Some(node) = pending.pop() {
            if let Some(mut last) = Arc::into_inner(node) {
                pending.extend(last.parents.drain(..).flatten());
            }
        }
    }
}

/// Gradients of the leaves, from [`Tensor::backward`].
#[derive(Debug, Default)]
pub struct Gradients {
    by_leaf: HashMap<u64, Tensor>,
}

impl Gradients {
    /// The gradient of a tensor made by [`Tensor::requires_grad`], in its shape; `None` if the loss does not depend on
    /// it.
    #[must_use]
    pub fn get(&self, leaf: &Tensor) -> Option<&Tensor> {
        self.by_leaf.get(&leaf.node()?.id())
    }

    /// Number of leaves that have a gradient.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_leaf.len()
    }

    /// Whether no leaf has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_leaf.is_empty()
    }
}

/// A node in the heap: the youngest comes first.
struct ByAge(Arc<Node>);

impl PartialEq for ByAge {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}
impl Eq for ByAge {}
impl PartialOrd for ByAge {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for ByAge {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

impl Tensor {
    /// Gradients of this scalar with respect to every leaf it depends on.
    ///
    /// Consumes the graph and frees activations as it goes.
    ///
    /// # Panics
    /// If the tensor does not have exactly one element, carries no graph, its graph was already used by a backward, or
    /// a tensor saved for backward was written in place since.
    #[track_caller]
    #[must_use]
    pub fn backward(&self) -> Gradients {
        assert_eq!(self.len(), 1, "backward: the loss must have one element, its shape is {}", self.shape());
        let root =
            self.node().unwrap_or_else(|| panic!("backward: the loss depends on nothing that requires grad"));
        let mut gradients = Gradients::default();
        let mut pending: HashMap<u64, Tensor> = HashMap::new();
        let mut heap = BinaryHeap::new();
        pending.insert(root.id, Tensor::full_like(self, 1.0).to_dtype(root.dtype));
        heap.push(ByAge(Arc::clone(root)));

        while let Some(ByAge(node)) = heap.pop() {
            let dy = pending.remove(&node.id).expect("a node in the heap has a gradient");
            if node.leaf {
                gradients.by_leaf.insert(node.id, dy);
                continue;
            }
            let sums = node.sums_so_far(&pending);
            let taken = vec![Cell::new(false); sums.len()];
            let gradients_of_parents = node.differentiate(&dy, &sums, &taken);
            for ((parent, gradient), taken) in node.parents.iter().zip(gradients_of_parents).zip(taken) {
                let (Some(parent), Some(gradient)) = (parent, gradient) else { continue };
                let gradient = gradient.sum_to(&parent.shape).to_dtype(parent.dtype);
                if let Some(sum) = pending.get_mut(&parent.id) {
                    *sum = if taken.get() { gradient } else { sum.add(&gradient) };
                } else {
                    pending.insert(parent.id, gradient);
                    heap.push(ByAge(Arc::clone(parent)));
                }
            }
        }
        gradients
    }
}

impl Node {
    /// Of each parent the gradient that other nodes have made, where this node makes one contribution more.
    fn sums_so_far(&self, pending: &HashMap<u64, Tensor>) -> Vec<Option<Tensor>> {
        let contributions = |id: u64| self.parents.iter().flatten().filter(|parent| parent.id == id).count();
        let sum = |parent: &Arc<Self>| {
            pending
                .get(&parent.id)
                .filter(|sum| contributions(parent.id) == 1 && *sum.shape() == parent.shape)
        };
        self.parents.iter().map(|parent| parent.as_ref().and_then(sum).cloned()).collect()
    }

    /// Runs the rule and frees what it saved.
    #[track_caller]
    fn differentiate(
        &self,
        dy: &Tensor,
        sums: &[Option<Tensor>],
        taken: &[Cell<bool>],
    ) -> Vec<Option<Tensor>> {
        let op = self.op;
        let rule = self.rule.lock().expect("no rule panicked").take();
        let rule = rule.unwrap_or_else(|| {
            panic!("backward through {op}: this graph was already used and freed by an earlier backward")
        });
        for (tensor, version) in rule.saved.iter().zip(&rule.versions) {
            let now = tensor.version();
            assert!(
                now == *version,
                "backward through {op}: a tensor of shape {} saved for it was written in place since (version {version}, now {now})",
                tensor.shape()
            );
        }
        let wanted: Vec<_> = self.parents.iter().map(|p| p.as_ref().map(|p| p.dtype)).collect();
        let context = Backward { dy, saved: &rule.saved, wanted: &wanted, sums, taken };
        let gradients = (rule.backward)(&context);
        assert_eq!(gradients.len(), self.parents.len(), "backward of {op} returns one gradient a parent");
        gradients
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("op", &self.op).field("shape", &self.shape).finish_non_exhaustive()
    }
}
