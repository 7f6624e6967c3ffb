//! Modules: fields and a forward.

mod conv;
mod heads;
mod init;
mod linear;
mod norm;
mod params;
mod resnet;
mod safetensors;
