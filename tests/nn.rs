//! Networks against PyTorch: names, initial values, features, files.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use common::*;
use wgrad::nn::{
    BatchNorm, Block, Conv2d, EncoderKind, LastNorm, LayerNorm, Linear, Mlp, MlpConfig, Mode, NamedTensor,
    ParamBuilder, Params, ResNet, ResNetConfig, Segment, Stem, read_safetensors, write_safetensors,
};
use wgrad::{Error, Rng, Tensor};

/// Features are means of activations near 1 after about ten layers of f32 sums; the fixtures are float64. Seen: 2e-7.
const FEATURES: Tol = Tol::new(5e-6, 5e-6);
/// Statistics of a layer's input: as far from the truth as that input is.
const STATISTICS: Tol = Tol::new(5e-6, 5e-6);

fn fixture_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn fixture(name: &str) -> HashMap<String, NamedTensor> {
    let (tensors, _) = read_safetensors(fixture_path(name)).unwrap();
    tensors.into_iter().map(|t| (t.name.clone(), t)).collect()
}

fn tensor(t: &NamedTensor) -> Tensor {
    gpu().tensor(&t.data, t.shape.as_slice()).unwrap()
}

/// The two small networks of tests/reference/resnet.py.
fn basic() -> ResNetConfig {
    ResNetConfig { stages: vec![(8, 2), (12, 1), (16, 1)], ..ResNetConfig::resnet8() }
}

fn bottleneck() -> ResNetConfig {
    let stages = vec![(4, 1), (8, 2)];
    ResNetConfig { stages, block: Block::Bottleneck, stem: Stem::ImageNet, ..ResNetConfig::resnet8() }
}

fn resnet(config: &ResNetConfig) -> (ResNet, Params) {
    let build = ParamBuilder::new(Rng::new(1));
    let net = ResNet::new(&build, config);
    (net, build.finish(gpu()).unwrap())
}

fn equals_pytorch(file: &str, config: &ResNetConfig) {
    let fixture = fixture(file);
    let (net, params) = resnet(config);
    let unused = params.load(fixture_path(file)).unwrap();
    assert!(
        unused.iter().all(|n| n == "input" || n.starts_with("features.") || n.starts_with("after.")),
        "{unused:?}"
    );
    let images = tensor(&fixture["input"]);

    let eval = net.forward(&params, &images, Mode::Eval);
    assert_eq!(**eval.shape(), fixture["features.eval"].shape);
    assert_close("eval", &eval.to_vec().unwrap(), &f64s(&fixture["features.eval"].data), FEATURES);
    let before = params.buffers().to_vec().unwrap();

    let train = net.forward(&params, &images, Mode::Train);
    assert_close("train", &train.to_vec().unwrap(), &f64s(&fixture["features.train"].data), FEATURES);
    let after = params.buffers().to_vec().unwrap();
    for s in params.buffer_segments() {
        assert_close(&s.name, &before[s.range()], &f64s(&fixture[&s.name].data), Tol::new(0.0, 0.0));
        let want = f64s(&fixture[&format!("after.{}", s.name)].data);
        assert_close(&format!("{} after", s.name), &after[s.range()], &want, STATISTICS);
    }
}

#[test]
fn basic_blocks_equal_pytorch() {
    equals_pytorch("resnet_basic.safetensors", &basic());
}

#[test]
fn bottlenecks_and_the_imagenet_stem_equal_pytorch() {
    equals_pytorch("resnet_bottleneck.safetensors", &bottleneck());
}

#[test]
fn presets_have_torchvisions_names_and_shapes() {
    let text = std::fs::read_to_string(fixture_path("resnet_names.json")).unwrap();
    let table: HashMap<String, Vec<(String, Vec<usize>)>> = serde_json::from_str(&text).unwrap();
    let presets = [
        ("resnet18", ResNetConfig::resnet18(), 11_689_512),
        ("resnet34", ResNetConfig::resnet34(), 21_797_672),
        ("resnet50", ResNetConfig::resnet50(), 25_557_032),
    ];
    for (name, config, count) in presets {
        let build = ParamBuilder::new(Rng::new(1));
        let net = ResNet::new(&build, &config.stem(Stem::ImageNet));
        let _ = Linear::new(&build.scope("fc"), net.features(), 1000, true);
        let (params, buffers) = build.segments();
        let file = |s: &Segment| (s.name.clone(), s.layout.file_shape(&s.shape));
        let ours: BTreeMap<_, _> = params.iter().chain(&buffers).map(file).collect();
        // PyTorch's counter of batches matters only to BN without a momentum.
        let theirs: BTreeMap<_, _> =
            table[name].iter().filter(|(n, _)| !n.ends_with("num_batches_tracked")).cloned().collect();
        assert_eq!(ours, theirs, "{name}");
        assert_eq!(params.iter().map(Segment::len).sum::<usize>(), count, "{name}");
    }
}

#[test]
fn small_presets_have_the_stated_features() {
    for (config, side, features) in [
        (ResNetConfig::resnet8(), 8, 64),
        (ResNetConfig::demo(), 28, 32),
        (ResNetConfig::resnet8().stem(Stem::ImageNet), 33, 64),
    ] {
        let (net, params) = resnet(&config);
        let images =
            gpu().tensor(&data(1, 2 * side * side * config.channels), [2, side, side, config.channels]);
        let h = net.forward(&params, &images.unwrap(), Mode::Train);
        assert_eq!((net.features(), &**h.shape()), (features, &[2, features][..]));
        assert!(h.to_vec().unwrap().iter().all(|v| v.is_finite()));
    }
}

#[test]
fn initial_values_are_pytorchs_defaults() {
    let build = ParamBuilder::new(Rng::new(3));
    let config = ResNetConfig { zero_init_residual: true, ..ResNetConfig::resnet8() };
    let net = ResNet::new(&build, &config);
    let _ = Linear::new(&build.scope("fc"), net.features(), 400, true);
    let params = build.finish(gpu()).unwrap();
    let flat = params.flat().to_vec().unwrap();
    let values = |name: &str| {
        let segment = params.segments().iter().find(|s| s.name == name).unwrap();
        flat[segment.range()].iter().map(|&v| f64::from(v)).collect::<Vec<_>>()
    };
    let spread = |v: &[f64]| (v.iter().map(|x| x * x).sum::<f64>() / v.len() as f64).sqrt();

    // 36,864 draws: the standard error of the spread is 0.4 %. Fan-out is 64 * 9.
    let conv = values("layer3.0.conv2.weight");
    assert!((spread(&conv) / (2.0_f64 / 576.0).sqrt() - 1.0).abs() < 0.02);
    // Uniform in ±1/8: spread 1/(8 sqrt 3), 25,600 draws.
    let linear = values("fc.weight");
    assert!(linear.iter().all(|v| v.abs() <= 0.125) && linear.iter().any(|v| v.abs() > 0.124));
    assert!((spread(&linear) * 8.0 * 3.0_f64.sqrt() - 1.0).abs() < 0.02);
    assert!(values("fc.bias").iter().all(|v| v.abs() <= 0.125));
    assert!(values("layer1.0.bn1.weight").iter().all(|&v| v == 1.0));
    assert!(values("layer1.0.bn2.weight").iter().all(|&v| v == 0.0));
    assert!(values("layer2.0.downsample.1.weight").iter().all(|&v| v == 1.0));
    assert!(values("bn1.bias").iter().all(|&v| v == 0.0));
}

#[test]
fn weights_depend_on_name_and_seed_alone() {
    let weight = |seed: u32, more: bool| {
        let build = ParamBuilder::new(Rng::new(seed));
        if more {
            let _ = Linear::new(&build.scope("first"), 3, 3, true);
        }
        let _ = Conv2d::new(&build.scope("conv"), 2, 3, 3, 1, 1);
        let params = build.finish(gpu()).unwrap();
        let range = params.segments().iter().find(|s| s.name == "conv.weight").unwrap().range();
        params.flat().to_vec().unwrap()[range].to_vec()
    };
    assert_eq!(weight(1, false), weight(1, true));
    assert_ne!(weight(1, false), weight(2, false));
}

#[test]
fn a_saved_file_is_what_pytorch_wrote() {
    let file = "resnet_basic.safetensors";
    let (_, params) = resnet(&basic());
    params.load(fixture_path(file)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("saved.safetensors");
    params.save(&path).unwrap();
    let theirs = fixture(file);
    let (ours, metadata) = read_safetensors(&path).unwrap();
    assert_eq!(ours.len(), params.segments().len() + params.buffer_segments().len());
    assert_eq!(metadata["format"], "pt");
    for tensor in &ours {
        assert_eq!(tensor, &theirs[&tensor.name]);
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn a_part_of_a_network_can_be_saved_and_loaded() {
    let build = ParamBuilder::new(Rng::new(1));
    let _ = ResNet::new(&build.scope("encoder"), &basic());
    let _ = Mlp::new(&build.scope("projector"), &MlpConfig::simclr(16, &[8, 4]));
    let params = build.finish(gpu()).unwrap();
    let before = params.flat().to_vec().unwrap();
    let encoder = |name: &str| name.strip_prefix("encoder.").map(str::to_owned);
    params.load_as(fixture_path("resnet_basic.safetensors"), encoder).unwrap();
    let after = params.flat().to_vec().unwrap();
    for s in params.segments() {
        let projector = s.name.starts_with("projector.");
        assert_eq!(before[s.range()] == after[s.range()], projector, "{}", s.name);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("encoder.safetensors");
    params.save_as(&path, encoder).unwrap();
    let (_, alone) = resnet(&basic());
    assert!(alone.load(&path).unwrap().is_empty());
}

#[test]
fn a_file_that_does_not_fit_is_named_and_changes_nothing() {
    let (_, params) = resnet(&basic());
    let before = params.flat().to_vec().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("w.safetensors");
    let all = || {
        params.save(&path).unwrap();
        read_safetensors(&path).unwrap().0
    };
    let message = |tensors: &[NamedTensor]| {
        write_safetensors(&path, tensors, &HashMap::new()).unwrap();
        let error = params.load(&path).unwrap_err();
        assert!(matches!(error, Error::Checkpoint { .. }));
        assert_eq!(params.flat().to_vec().unwrap(), before);
        error.to_string()
    };

    let mut tensors = all();
    let place = tensors.iter().position(|t| t.name == "layer2.0.conv1.weight").unwrap();
    tensors[place].shape = vec![8, 12, 3, 3];
    let text = message(&tensors);
    let want = "w.safetensors: tensor layer2.0.conv1.weight: expected [12, 8, 3, 3], found [8, 12, 3, 3]";
    assert!(text.ends_with(want), "{text}");

    let mut tensors = all();
    tensors.remove(place);
    let text = message(&tensors);
    assert!(
        text.ends_with("layer2.0.conv1.weight: expected [12, 8, 3, 3], found none of this name"),
        "{text}"
    );

    params.save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    assert!(matches!(params.load(&path).unwrap_err(), Error::Checkpoint { .. }));
    assert!(matches!(params.load(directory.path().join("none")).unwrap_err(), Error::Io { .. }));
}

#[test]
fn forks_are_copies_and_frozen_shares() {
    let build = ParamBuilder::new(Rng::new(1));
    let layer = Linear::new(&build, 3, 2, true);
    let params = build.finish(gpu()).unwrap();
    let x = gpu().full([4, 3], 1.0).unwrap();
    let (fork, frozen) = (params.fork(), params.frozen());
    let before = layer.forward(&params, &x).to_vec().unwrap();
    params.flat().write(&vec![0.5; params.flat().len()]);
    assert_eq!(layer.forward(&fork, &x).to_vec().unwrap(), before);
    assert_eq!(layer.forward(&frozen, &x).to_vec().unwrap(), vec![2.0; 8]);
    assert!(layer.forward(&params, &x).tracks_grad());
    assert!(!layer.forward(&fork, &x).tracks_grad() && !layer.forward(&frozen, &x).tracks_grad());
}

#[test]
fn packed_gradients_lie_like_the_parameters() {
    let build = ParamBuilder::new(Rng::new(1));
    let used = Linear::new(&build.scope("used"), 3, 2, true);
    let _ = Linear::new(&build.scope("unused"), 2, 2, true);
    let params = build.finish(gpu()).unwrap();
    let x = gpu().full([4, 3], 2.0).unwrap();
    let grads = params.pack(&used.forward(&params, &x).sum_all().backward()).to_vec().unwrap();
    let mut want = vec![0.0; params.flat().len()];
    want[..6].fill(8.0); // d sum / d W = sum of x over the 4 rows
    want[128..130].fill(4.0);
    assert_eq!(grads, want);
}

#[test]
fn heads_are_named_as_a_sequential() {
    let build = ParamBuilder::new(Rng::new(1));
    let config = MlpConfig { last_norm: LastNorm::Plain, last_bias: false, ..MlpConfig::simclr(5, &[7, 3]) };
    let head = Mlp::new(&build, &config);
    let norm = BatchNorm::new(&build.scope("bn"), 3);
    let layer_norm = LayerNorm::new(&build.scope("ln"), 3);
    let (params, buffers) = build.segments();
    let names = |s: Vec<Segment>| s.into_iter().map(|s| s.name).collect::<Vec<_>>().join(" ");
    assert_eq!(names(params), "0.weight 1.weight 1.bias 3.weight bn.weight bn.bias ln.weight ln.bias");
    assert!(names(buffers).starts_with("1.running_mean 1.running_var 4.running_mean 4.running_var bn."));
    let params = build.finish(gpu()).unwrap();

    let z = head.forward(&params, &gpu().tensor(&data(4, 30), [6, 5]).unwrap(), Mode::Train);
    let rows = z.to_vec().unwrap();
    for column in 0..3 {
        let values: Vec<f64> = rows.iter().skip(column).step_by(3).map(|&v| f64::from(v)).collect();
        let mean = values.iter().sum::<f64>() / 6.0;
        assert!(mean.abs() < 1e-5, "the last norm has no bias: column mean {mean}");
    }
    let y = layer_norm.forward(&params, &norm.forward(&params, &z, Mode::Eval));
    assert_eq!(**y.shape(), [6, 3]);
}

#[test]
#[should_panic(expected = "parameter a.weight is registered twice")]
fn a_name_is_used_once() {
    let build = ParamBuilder::new(Rng::new(1));
    let _ = Linear::new(&build.scope("a"), 2, 2, true);
    let _ = Linear::new(&build.scope("a"), 2, 2, true);
}

/// Every encoder by name, behind one trait: images to as many features as it says, in both modes.
#[test]
fn every_encoder_has_the_features_it_says() {
    for kind in EncoderKind::ALL {
        let build = ParamBuilder::new(Rng::new(1));
        let encoder = kind.build(&build.scope("encoder"), [12, 10, 3]);
        let params = build.finish(gpu()).unwrap();
        assert!(params.segments().iter().all(|s| s.name.starts_with("encoder.")), "{}", kind.name);
        let images = gpu().tensor(&data(1, 2 * 12 * 10 * 3), [2, 12, 10, 3]).unwrap();
        for mode in [Mode::Train, Mode::Eval] {
            let h = encoder.forward(&params, &images, mode);
            assert_eq!(**h.shape(), [2, encoder.features()], "{}", kind.name);
            assert!(h.to_vec().unwrap().iter().all(|v| v.is_finite()), "{}", kind.name);
        }
        if kind.any_size {
            let other = gpu().tensor(&data(2, 2 * 9 * 9 * 3), [2, 9, 9, 3]).unwrap();
            assert_eq!(**encoder.forward(&params, &other, Mode::Eval).shape(), [2, encoder.features()]);
        }
        assert_eq!(EncoderKind::named(kind.name).unwrap().name, kind.name);
    }
    let widths = ["tiny", "resnet8", "resnet18", "resnet50", "mlp"].map(|name| {
        let build = ParamBuilder::new(Rng::new(1));
        EncoderKind::named(name).unwrap().build(&build, [12, 10, 3]).features()
    });
    assert_eq!(widths, [32, 64, 512, 2048, 128]);
    assert!(EncoderKind::named("vit").is_none());
}

#[test]
#[should_panic(expected = "Mlp: [2, 9, 9, 3] for 360 inputs a row")]
fn a_perceptron_takes_one_size() {
    let build = ParamBuilder::new(Rng::new(1));
    let encoder = EncoderKind::named("mlp").unwrap().build(&build, [12, 10, 3]);
    let params = build.finish(gpu()).unwrap();
    let _ = encoder.forward(&params, &gpu().zeros([2, 9, 9, 3]).unwrap(), Mode::Eval);
}
