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

/// Files below a system directory that no grant of a tree above them shows. `/etc` is not granted as a
/// whole by default, but the caller may; these stay closed until they are named.
pub(crate) const PRIVATE: &[&str] = &[
    "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/sudoers.d",
    "/etc/doas.conf", "/etc/security/opasswd", "/etc/krb5.keytab", "/etc/ssl/private", "/etc/pki/tls/private",
    "/etc/pki/private", "/etc/ssh/ssh_host_rsa_key", "/etc/ssh/ssh_host_dsa_key", "/etc/ssh/ssh_host_ecdsa_key",
    "/etc/ssh/ssh_host_ed25519_key", "/etc/NetworkManager/system-connections", "/etc/wireguard",
    "/etc/openvpn", "/etc/ipsec.secrets", "/etc/ipsec.d/private", "/etc/swanctl/private", "/etc/ppp/chap-secrets",
    "/etc/ppp/pap-secrets", "/etc/letsencrypt", "/etc/docker/key.json", "/etc/kubernetes", "/etc/rancher",
    "/etc/crypttab", "/etc/luks", "/etc/cifs-credentials", "/etc/samba/private", "/etc/netplan",
    "/etc/wpa_supplicant", "/etc/iwd", "/etc/mysql/debian.cnf", "/etc/credstore", "/etc/credstore.encrypted",
    "/etc/polkit-1", "/etc/libvirt", "/etc/ceph", "/etc/machine-secret", "/etc/at.deny", "/etc/.pwd.lock",
    "/usr/local/etc/sudoers", "/usr/local/etc/sudoers.d",
];

/// Directories of the kernel. They are never part of a grant of a tree above them.
pub(crate) const SPECIAL: &[&str] = &["/proc", "/dev", "/sys"];
