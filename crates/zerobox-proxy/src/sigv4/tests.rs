use super::*;
use hyper::Request;
use zerobox_policy::Places;

const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn authorization(headers: &str, signature: &str) -> String {
    format!(
        "{ALGORITHM} Credential={ID}/20130524/us-east-1/s3/aws4_request,SignedHeaders={headers},Signature={signature}"
    )
}

/// The signature with the key of the documentation.
fn signature(parts: &Parts, style: PathStyle, hash: &str) -> (String, String) {
    let seal = Seal::read(parts).unwrap();
    (seal.signature(parts, SECRET.as_bytes(), style, hash), seal.signature)
}

/// The examples of "Authenticating Requests" in the documentation of Amazon S3.
#[test]
fn the_examples_of_the_documentation() {
    let empty = sha256_hex(b"");
    let common = [("host", "examplebucket.s3.amazonaws.com"), ("x-amz-date", "20130524T000000Z")];
    let check = |method: &str, uri: &str, more: &[(&str, &str)], signed: &str, hash: &str, wanted: &str| {
        let field = authorization(signed, wanted);
        let mut headers = [&common[..], more].concat();
        headers.extend([("x-amz-content-sha256", hash), ("authorization", field.as_str())]);
        let parts = parts(method, uri, &headers);
        let (computed, stated) = signature(&parts, PathStyle::Once, hash);
        assert_eq!((computed.as_str(), stated.as_str()), (wanted, wanted), "{method} {uri}");
    };
    check(
        "GET",
        "/test.txt",
        &[("range", "bytes=0-9")],
        "host;range;x-amz-content-sha256;x-amz-date",
        &empty,
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    );
    check(
        "PUT",
        "/test$file.text",
        &[("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        &sha256_hex(b"Welcome to Amazon S3."),
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
    check(
        "GET",
        "/?lifecycle",
        &[],
        "host;x-amz-content-sha256;x-amz-date",
        &empty,
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    );
    check(
        "GET",
        "/?prefix=J&max-keys=2",
        &[],
        "host;x-amz-content-sha256;x-amz-date",
        &empty,
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    );
}

#[test]
fn a_signed_url_of_the_documentation() {
    let wanted = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    let uri = format!(
        "/test.txt?X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={ID}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
         &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature={wanted}"
    );
    let parts = parts("GET", &uri, &[("host", "examplebucket.s3.amazonaws.com")]);
    assert_eq!(signature(&parts, PathStyle::Once, UNSIGNED), (wanted.to_owned(), wanted.to_owned()));
}

/// What a client inside with placeholders signs gets the signature that the real key makes of what is sent.
#[test]
fn a_placeholder_is_found_and_signed_again() {
    const PLACEHOLDER: &str = "placeholder/of/the+same+length/0123456789";
    let scope = "20261124/eu-west-1/dynamodb/aws4_request";
    let headers =
        [("host", "a.test"), ("x-amz-date", "20261124T000000Z"), ("range", "bytes=0-1"), ("x-b", " a  b ")];
    let mut head = parts("POST", "/a%20b/c?b=2&a=%2f&a=1", &headers);
    let credential = |id: &str| format!("{id}/{scope}");
    let seal = |id: &str, headers: &str| Seal {
        is_query: false,
        credential: credential(id),
        headers: headers.split(';').map(str::to_owned).collect(),
        signature: String::new(),
        date: "20261124T000000Z".to_owned(),
    };
    let hash = sha256_hex(b"body");
    let first = seal("PLACEHOLDER-ID", "host;range;x-amz-date;x-b");
    let signature = first.signature(&head, PLACEHOLDER.as_bytes(), PathStyle::Twice, &hash);
    first.write(&mut head, &signature);
    let given = |index, placeholder| Given {
        index,
        placeholder,
        value: SECRET.as_bytes(),
        places: Places::default(),
    };
    let signed = Signed::read(&head, &[given(0, "another"), given(7, PLACEHOLDER)]).unwrap();
    let (key, style, _) = signed.find(&head, std::slice::from_ref(&hash)).unwrap();
    assert_eq!((key.index, style), (7, PathStyle::Twice));
    assert!(signed.find(&head, &[sha256_hex(b"other")]).is_none());

    let mut sent = head.clone();
    sent.headers.remove("range");
    let field = sent.headers["authorization"].to_str().unwrap().replace("PLACEHOLDER-ID", ID);
    sent.headers.insert("authorization", field.parse().unwrap());
    let again = signed.seal.of_sent(&sent);
    let signature = again.signature(&sent, SECRET.as_bytes(), style, &hash);
    again.write(&mut sent, &signature);
    let wanted = seal(ID, "host;x-amz-date;x-b").signature(&sent, SECRET.as_bytes(), PathStyle::Twice, &hash);
    let field = sent.headers["authorization"].to_str().unwrap();
    assert_eq!(
        field,
        format!("{ALGORITHM} Credential={ID}/{scope}, SignedHeaders=host;x-amz-date;x-b, Signature={wanted}")
    );
}

#[test]
fn other_requests_are_none_of_ours() {
    let given = [Given { index: 0, placeholder: "p", value: b"v", places: Places::default() }];
    for field in [
        "Bearer x",
        "AWS4-HMAC-SHA256 Credential=a",
        "AWS4-ECDSA-P256-SHA256 Credential=a, SignedHeaders=host, Signature=0",
    ] {
        let parts = parts("GET", "/", &[("authorization", field), ("x-amz-date", "1")]);
        assert!(Signed::read(&parts, &given).is_none(), "{field}");
    }
    assert!(Signed::read(&parts("GET", "/?X-Amz-Algorithm=x", &[]), &given).is_none());
}
