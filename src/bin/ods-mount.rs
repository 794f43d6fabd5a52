//! `ods-mount`: mounts a drive; also the helper of mount(8) and umount(8).

fn main() -> std::process::ExitCode {
    ods::cli::ods_mount()
}
