//! How the tool is linked, where the linker and the system can do it: for a smaller file, less memory and a quicker start.
//! Elsewhere it is linked as usual.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Places what most commands run side by side; `link/order` writes it.
const ORDER: &str = "link/order.ld";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={ORDER}");
    let cfg = |name: &str| env::var(format!("CARGO_CFG_{name}")).unwrap_or_default();
    let is_static = cfg("TARGET_FEATURE").split(',').any(|feature| feature == "crt-static");
    if cfg("TARGET_OS") != "linux" || cfg("TARGET_ENV") != "gnu" || is_static {
        return;
    }
    // GCC's unwinder as a part of the tool: the shared one asks the processor what it can do whenever it is loaded, which is
    // a tenth of a start where the processor is a virtual one.
    if works_with(&["-lstatic:-bundle=gcc_eh"]) {
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
    // Relative relocations in their packed form: 0.4 MB less to read at each start. Only where it can be tried: glibc knows
    // them since 2.36, and not every linker tells it of them.
    let packed = "-Wl,-z,pack-relative-relocs";
    if is_built_here() && takes(packed) {
        println!("cargo::rustc-link-arg-bins={packed}");
    }
    // In other profiles functions have other names, and there are more of them.
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        let order = format!("-Wl,-T,{root}/{ORDER}");
        if takes(&order) {
            println!("cargo::rustc-link-arg-bins={order}");
        }
    }
}

/// Whether it is built for the system it is built on, not for another.
fn is_built_here() -> bool {
    env::var("HOST") == env::var("TARGET")
}

/// Whether the linker takes an argument: there are several, and any may be configured.
fn takes(argument: &str) -> bool {
    works_with(&["-C", &format!("link-arg={argument}")])
}

/// Whether an empty program can be linked so, with the compiler, the linker and the flags that the tool is built with, and
/// runs.
fn works_with(arguments: &[&str]) -> bool {
    let get = |name: &str| env::var_os(name).unwrap_or_default();
    let directory = PathBuf::from(get("OUT_DIR"));
    let (source, program) = (directory.join("empty.rs"), directory.join("empty"));
    if fs::write(&source, "fn main() {}").is_err() {
        return false;
    }
    let mut rustc = Command::new(get("RUSTC"));
    rustc.arg(&source).arg("-o").arg(&program).arg("--target").arg(get("TARGET")).args(arguments);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = OsString::from("-Clinker=");
        option.push(linker);
        rustc.arg(option);
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    succeeds(&mut rustc) && (!is_built_here() || succeeds(&mut Command::new(program)))
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
