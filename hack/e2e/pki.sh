# shellcheck shell=bash
# Certificates of a cluster: a CA, the API server's, those of administrator, kubelet and kube-proxy, and the key of service accounts.

# make_pki CLUSTER ADDRESS SERVICE-ADDRESS
make_pki() {
  local name=$1 address=$2 service=$3 pki=$work/$1/pki
  mkdir -p "$pki"
  (
    cd "$pki" || exit
    umask 077
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 7 -subj "/CN=$name CA" -keyout ca.key -out ca.crt 2>/dev/null
    openssl ecparam -name prime256v1 -genkey -noout -out sa.key
    openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null
    issue tls "/CN=kube-apiserver" serverAuth "IP:$address,IP:$service,IP:127.0.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
    issue admin "/O=system:masters/CN=admin" clientAuth
    issue kubelet "/O=system:nodes/CN=system:node:$name" clientAuth
    issue kube-proxy "/CN=system:kube-proxy" clientAuth
    issue bootstrap "/CN=autoapproval-user" clientAuth
  )
}

# issue FILE SUBJECT USAGE [SANS]
issue() {
  local file=$1 subject=$2 usage=$3 names=${4:-}
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$subject" -keyout "$file.key" -out "$file.csr" 2>/dev/null
  openssl x509 -req -in "$file.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 7 -out "$file.crt" 2>/dev/null \
    -extfile <(printf 'extendedKeyUsage=%s\n' "$usage"; [[ -z $names ]] || printf 'subjectAltName=%s\n' "$names")
}

# Writes a kubeconfig of a user: kubeconfig CLUSTER USER FILE
kubeconfig() {
  local name=$1 user=$2 file=$3 pki=$work/$1/pki
  cat >"$file" <<EOF
apiVersion: v1
kind: Config
current-context: $name
contexts: [{name: $name, context: {cluster: $name, user: $user}}]
clusters: [{name: $name, cluster: {server: "https://$(address_of "$name"):6443", certificate-authority-data: $(base64 -w0 <"$pki/ca.crt")}}]
users: [{name: $user, user: {client-certificate-data: $(base64 -w0 <"$pki/$user.crt"), client-key-data: $(base64 -w0 <"$pki/$user.key")}}]
EOF
  chmod 600 "$file"
}
