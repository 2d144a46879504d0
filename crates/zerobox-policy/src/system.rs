//! The system directories that every program needs, and what in them is nobody's business.

/// Trees that are readable by default, where they exist. On a merged `/usr` some are links into it.
pub(crate) const READABLE: &[&str] = &[
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/gnu/store",
    "/run/current-system",
];

/// What of `/etc` is readable by default: names that programs read at start-up and that hold no secret.
pub(crate) const ETC: &[&str] = &[
    "adjtime", "alternatives", "apk", "apt", "bash.bashrc", "bash_completion", "bash_completion.d", "bashrc",
    "ca-certificates", "ca-certificates.conf", "ca-certificates.extracted", "cni", "crypto-policies",
    "debian_version", "default/locale", "dpkg", "emacs", "environment", "ethertypes", "fedora-release", "fish",
    "fonts", "gai.conf", "gitattributes", "gitconfig", "gitignore", "gnutls", "group", "gtk-2.0", "gtk-3.0",
    "gtk-4.0", "host.conf", "hostname", "hosts", "inputrc", "issue", "java", "java-11-openjdk",
    "java-17-openjdk", "java-21-openjdk", "jvm", "ld-musl-x86_64.path", "ld-musl-aarch64.path", "ld.so.cache",
    "ld.so.conf", "ld.so.conf.d", "ld.so.preload", "lsb-release", "libnl", "locale.alias", "locale.conf",
    "locale.gen", "localtime", "login.defs", "machine-id", "magic", "magic.mime", "mailcap", "manpath.config",
    "matplotlibrc", "maven", "mime.types", "mke2fs.conf", "mtab", "nanorc", "netconfig", "networks", "nix",
    "nsswitch.conf", "nvim", "ocaml", "openldap/ldap.conf", "ldap/ldap.conf", "OpenCL", "opt", "os-release",
    "pacman.conf", "paperspecs", "papersize", "passwd", "perl", "pip.conf", "pkcs11", "pki/ca-trust", "pki/java",
    "pki/tls/cert.pem", "pki/tls/certs", "pki/tls/openssl.cnf", "pki/nssdb", "postgresql-common", "profile",
    "profile.d", "protocols", "pulse/client.conf", "python", "python3", "python3.9", "python3.10", "python3.11",
    "python3.12", "python3.13", "python3.14", "R", "redhat-release", "resolv.conf", "rpc", "rpm", "ruby",
    "screenrc", "sensors3.conf", "services", "sgml", "shells", "skel", "ssh/moduli", "ssh/ssh_config",
    "ssh/ssh_config.d", "ssh/ssh_known_hosts", "ssl/cert.pem", "ssl/certs", "ssl/openssl.cnf", "ssl/ct_log_list.cnf",
    "ssl/java", "static", "subgid", "subuid", "SuSE-release", "sysctl.conf", "terminfo", "texmf", "timezone",
    "tmux.conf", "tool-versions", "ucf.conf", "updatedb.conf", "vconsole.conf", "vim", "virc", "vimrc", "vulkan",
    "wgetrc", "xattr.conf", "xdg", "xml", "zlogin", "zprofile", "zsh", "zsh_command_not_found", "zshenv", "zshrc",
];

/// Names in `/etc` that no grant of a tree above them shows. `/etc` is not granted as a whole by default, but the
/// caller may; these stay closed until they are named.
pub(crate) const ETC_PRIVATE: &[&str] = &[
    "shadow", "shadow-", "gshadow", "gshadow-", "sudoers", "sudoers.d",
    "doas.conf", "security/opasswd", "krb5.keytab", "ssl/private", "pki/tls/private",
    "pki/private", "ssh/ssh_host_rsa_key", "ssh/ssh_host_dsa_key", "ssh/ssh_host_ecdsa_key",
    "ssh/ssh_host_ed25519_key", "NetworkManager/system-connections", "wireguard",
    "openvpn", "ipsec.secrets", "ipsec.d/private", "swanctl/private", "ppp/chap-secrets",
    "ppp/pap-secrets", "letsencrypt", "docker/key.json", "kubernetes", "rancher",
    "crypttab", "luks", "cifs-credentials", "samba/private", "netplan",
    "wpa_supplicant", "iwd", "mysql/debian.cnf", "credstore", "credstore.encrypted",
    "polkit-1", "libvirt", "ceph", "machine-secret", "at.deny", ".pwd.lock",
];

/// Directories of the kernel. They are never part of a grant of a tree above them.
pub(crate) const SPECIAL: &[&str] = &["/proc", "/dev", "/sys"];
