// A CMP client of Bouncy Castle's high-level builders, for tests/interop/test_bouncy_castle_cmp.py.
//
//   java CmpClient URL ROOT.pem PROTECTION OPERATION NAME [OPERATION NAME]...
//
// PROTECTION is pbm:REF:SECRET, pbmac1:REF:SECRET or signature:BUNDLE.pem (certificate, then PKCS#8 key).
// OPERATION is ir or cr (both confirm), ir-implicit, kur (with a new key, confirms) or rr; each writes
// NAME.pem (the certificate and its key) and one line "OPERATION NAME: word". Operations kur and rr are signed
// with what the operation before got. Exit code 0 only if all went through and every answer was protected right.

import java.io.ByteArrayOutputStream;
import java.io.FileReader;
import java.io.FileWriter;
import java.io.OutputStream;
import java.math.BigInteger;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.GeneralSecurityException;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.SecureRandom;
import java.security.Security;
import java.security.spec.ECGenParameterSpec;
import java.util.Arrays;
import java.util.Date;
import javax.crypto.Mac;
import javax.crypto.SecretKey;
import javax.crypto.SecretKeyFactory;
import javax.crypto.spec.PBEKeySpec;
import org.bouncycastle.asn1.ASN1Encodable;
import org.bouncycastle.asn1.ASN1Enumerated;
import org.bouncycastle.asn1.ASN1Integer;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.DERNull;
import org.bouncycastle.asn1.DERSequence;
import org.bouncycastle.asn1.cmp.CMPObjectIdentifiers;
import org.bouncycastle.asn1.cmp.CertRepMessage;
import org.bouncycastle.asn1.cmp.CertResponse;
import org.bouncycastle.asn1.cmp.ErrorMsgContent;
import org.bouncycastle.asn1.cmp.InfoTypeAndValue;
import org.bouncycastle.asn1.cmp.PBMParameter;
import org.bouncycastle.asn1.cmp.PKIBody;
import org.bouncycastle.asn1.cmp.PKIMessage;
import org.bouncycastle.asn1.cmp.PKIStatusInfo;
import org.bouncycastle.asn1.cmp.RevDetails;
import org.bouncycastle.asn1.cmp.RevRepContent;
import org.bouncycastle.asn1.cmp.RevReqContent;
import org.bouncycastle.asn1.crmf.CRMFObjectIdentifiers;
import org.bouncycastle.asn1.crmf.CertId;
import org.bouncycastle.asn1.crmf.CertReqMessages;
import org.bouncycastle.asn1.crmf.CertTemplateBuilder;
import org.bouncycastle.asn1.nist.NISTObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PBKDF2Params;
import org.bouncycastle.asn1.pkcs.PBMAC1Params;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PrivateKeyInfo;
import org.bouncycastle.asn1.x500.RDN;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x509.CRLReason;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.ExtensionsGenerator;
import org.bouncycastle.asn1.x509.GeneralName;
import org.bouncycastle.asn1.x509.GeneralNames;
import org.bouncycastle.asn1.x509.SubjectKeyIdentifier;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.cmp.CertificateConfirmationContentBuilder;
import org.bouncycastle.cert.cmp.GeneralPKIMessage;
import org.bouncycastle.cert.cmp.ProtectedPKIMessage;
import org.bouncycastle.cert.cmp.ProtectedPKIMessageBuilder;
import org.bouncycastle.cert.crmf.Control;
import org.bouncycastle.cert.crmf.PKMACBuilder;
import org.bouncycastle.cert.crmf.jcajce.JcaCertificateRequestMessageBuilder;
import org.bouncycastle.cert.crmf.jcajce.JcePKMACValuesCalculator;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.openssl.PEMParser;
import org.bouncycastle.openssl.jcajce.JcaPEMKeyConverter;
import org.bouncycastle.openssl.jcajce.JcaPEMWriter;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.GenericKey;
import org.bouncycastle.operator.MacCalculator;
import org.bouncycastle.operator.PBEMacCalculatorProvider;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaContentVerifierProviderBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.pkcs.jcajce.JcePBMac1CalculatorBuilder;
import org.bouncycastle.pkcs.jcajce.JcePBMac1CalculatorProviderBuilder;
import org.bouncycastle.util.io.pem.PemObject;

public class CmpClient {
    private static final SecureRandom RANDOM = new SecureRandom();
    private static final GeneralName NULL_DN = new GeneralName(new X500Name(new RDN[0]));

    private final HttpClient http = HttpClient.newHttpClient();
    private final URI url;
    private final X509CertificateHolder root;
    private String macKind;  // null: signed
    private String reference;
    private char[] secret;
    private X509CertificateHolder certificate;
    private PrivateKey key;

    private byte[] transactionId;
    private byte[] senderNonce;
    private byte[] recipNonce;

    public static void main(String[] arguments) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        CmpClient client = new CmpClient(arguments[0], arguments[1], arguments[2]);
        for (int at = 3; at < arguments.length; at += 2) {
            String word = client.run(arguments[at], arguments[at + 1]);
            System.out.println(arguments[at] + " " + arguments[at + 1] + ": " + word);
        }
    }

    private CmpClient(String address, String rootPem, String protection) throws Exception {
        url = URI.create(address);
        try (PEMParser parser = new PEMParser(new FileReader(rootPem))) {
            root = (X509CertificateHolder) parser.readObject();
        }
        String[] parts = protection.split(":", 3);
        if (parts[0].equals("signature")) {
            readBundle(parts[1]);
        } else {
            macKind = parts[0];
            reference = parts[1];
            secret = parts[2].toCharArray();
        }
    }

    private String run(String operation, String name) throws Exception {
        transactionId = random();
        recipNonce = null;
        switch (operation) {
            case "ir": return enrol(PKIBody.TYPE_INIT_REQ, name, false);
            case "ir-implicit": return enrol(PKIBody.TYPE_INIT_REQ, name, true);
            case "cr": return enrol(PKIBody.TYPE_CERT_REQ, name, false);
            case "kur": return enrol(PKIBody.TYPE_KEY_UPDATE_REQ, name, false);
            case "rr": return revoke();
            default: throw new IllegalArgumentException(operation);
        }
    }

    // -- enrolment --

    private String enrol(int type, String name, boolean implicit) throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC", "BC");
        generator.initialize(new ECGenParameterSpec("P-256"));
        KeyPair pair = generator.generateKeyPair();
        JcaCertificateRequestMessageBuilder request = new JcaCertificateRequestMessageBuilder(BigInteger.ZERO);
        request.setPublicKey(pair.getPublic());
        boolean update = type == PKIBody.TYPE_KEY_UPDATE_REQ;
        X500Name subject = update ? certificate.getSubject() : new X500Name("CN=" + name);
        request.setSubject(subject);
        if (update) {
            macKind = null;  // a key update is signed with the certificate that it renews
            request.addControl(oldCertificate());
        } else {
            GeneralNames names = new GeneralNames(new GeneralName(GeneralName.dNSName, name));
            request.addExtension(Extension.subjectAlternativeName, false, names);
        }
        request.setProofOfPossessionSigningKeySigner(signer(pair.getPrivate()));
        CertReqMessages messages = new CertReqMessages(request.build().toASN1Structure());

        PKIBody answer = exchange(new PKIBody(type, messages), implicit).getBody();
        if (answer.getType() != type + 1) {
            return refused(answer);
        }
        CertResponse response = CertRepMessage.getInstance(answer.getContent()).getResponse()[0];
        PKIStatusInfo status = response.getStatus();
        if (status.getStatus().intValue() > 1) {
            throw new IllegalStateException("refused: " + text(status));
        }
        X509CertificateHolder issued = new X509CertificateHolder(
            response.getCertifiedKeyPair().getCertOrEncCert().getCertificate().getX509v3PKCert());
        if (!Arrays.equals(issued.getSubjectPublicKeyInfo().getEncoded(), pair.getPublic().getEncoded())) {
            throw new IllegalStateException("the certificate is for another key");
        }
        String word = status.getStatus().intValue() == 0 ? "accepted" : "grantedWithMods";
        if (!implicit) {
            CertificateConfirmationContentBuilder confirmation = new CertificateConfirmationContentBuilder();
            confirmation.addAcceptedCertificate(issued, BigInteger.ZERO);
            PKIBody confirmed = exchange(new PKIBody(PKIBody.TYPE_CERT_CONFIRM, confirmation.build(
                new JcaDigestCalculatorProviderBuilder().setProvider("BC").build()).toASN1Structure()), false)
                .getBody();
            if (confirmed.getType() != PKIBody.TYPE_CONFIRM) {
                return refused(confirmed);
            }
            word += ", confirmed";
        }
        certificate = issued;
        key = pair.getPrivate();
        writeBundle(name);
        return word;
    }

    private Control oldCertificate() {
        CertId id = new CertId(new GeneralName(certificate.getIssuer()), certificate.getSerialNumber());
        return new Control() {
            public ASN1ObjectIdentifier getType() {
                return CRMFObjectIdentifiers.id_regCtrl.branch("5");  // id-regCtrl-oldCertID
            }

            public ASN1Encodable getValue() {
                return id;
            }
        };
    }

    // -- revocation --

    private String revoke() throws Exception {
        macKind = null;
        ExtensionsGenerator details = new ExtensionsGenerator();
        details.addExtension(Extension.reasonCode, false, new ASN1Enumerated(CRLReason.superseded));
        RevDetails revocation = new RevDetails(
            new CertTemplateBuilder().setIssuer(certificate.getIssuer())
                .setSerialNumber(new ASN1Integer(certificate.getSerialNumber())).build(),
            details.generate());
        PKIBody body = new PKIBody(PKIBody.TYPE_REVOCATION_REQ,
            RevReqContent.getInstance(new DERSequence(revocation)));
        PKIBody answer = exchange(body, false).getBody();
        if (answer.getType() != PKIBody.TYPE_REVOCATION_REP) {
            return refused(answer);
        }
        PKIStatusInfo status = RevRepContent.getInstance(answer.getContent()).getStatus()[0];
        if (status.getStatus().intValue() != 0) {
            throw new IllegalStateException("refused: " + text(status));
        }
        return "revoked";
    }

    // -- messages --

    private ProtectedPKIMessage exchange(PKIBody body, boolean implicit) throws Exception {
        senderNonce = random();
        X500Name name = macKind == null ? certificate.getSubject() : new X500Name("CN=" + reference);
        ProtectedPKIMessageBuilder builder = new ProtectedPKIMessageBuilder(new GeneralName(name), NULL_DN);
        builder.setBody(body).setMessageTime(new Date()).setTransactionID(transactionId).setSenderNonce(senderNonce);
        if (recipNonce != null) {
            builder.setRecipNonce(recipNonce);
        }
        if (implicit) {
            builder.addGeneralInfo(new InfoTypeAndValue(CMPObjectIdentifiers.it_implicitConfirm, DERNull.INSTANCE));
        }
        HttpRequest request = HttpRequest.newBuilder(url)
            .header("Content-Type", "application/pkixcmp")
            .POST(HttpRequest.BodyPublishers.ofByteArray(protect(builder).toASN1Structure().getEncoded()))
            .build();
        HttpResponse<byte[]> answer = http.send(request, HttpResponse.BodyHandlers.ofByteArray());
        if (answer.statusCode() != 200) {
            throw new IllegalStateException("HTTP " + answer.statusCode());
        }
        GeneralPKIMessage received = new GeneralPKIMessage(PKIMessage.getInstance(answer.body()));
        if (!received.hasProtection()) {
            return refusedUnprotected(received);
        }
        ProtectedPKIMessage message = new ProtectedPKIMessage(received);
        checkProtection(message);
        if (!Arrays.equals(message.getHeader().getTransactionID().getOctets(), transactionId)
            || !Arrays.equals(message.getHeader().getRecipNonce().getOctets(), senderNonce)) {
            throw new IllegalStateException("the answer is to another message");
        }
        recipNonce = message.getHeader().getSenderNonce().getOctets();
        return message;
    }

    private ProtectedPKIMessage protect(ProtectedPKIMessageBuilder builder) throws Exception {
        if (macKind == null) {
            builder.addCMPCertificate(certificate);
            Extension identifier = certificate.getExtension(Extension.subjectKeyIdentifier);
            if (identifier != null) {
                builder.setSenderKID(SubjectKeyIdentifier.getInstance(identifier.getParsedValue()).getKeyIdentifier());
            }
            return builder.build(signer(key));
        }
        builder.setSenderKID(reference.getBytes("UTF-8"));
        if (macKind.equals("pbmac1")) {
            PBKDF2Params derivation = new PBKDF2Params(random(), 2000, 32, JcePBMac1CalculatorBuilder.PRF_SHA256);
            PBMAC1Params parameters = new PBMAC1Params(
                new AlgorithmIdentifier(PKCSObjectIdentifiers.id_PBKDF2, derivation),
                new AlgorithmIdentifier(PKCSObjectIdentifiers.id_hmacWithSHA256, DERNull.INSTANCE));
            return builder.build(new Pbmac1(parameters, derivation, secret));
        }
        // The builder's own default one-way function is SHA-1, which the gateway does not take.
        PKMACBuilder mac = new PKMACBuilder(new JcePKMACValuesCalculator().setProvider("BC"));
        mac.setParameters(new PBMParameter(
            random(),
            new AlgorithmIdentifier(NISTObjectIdentifiers.id_sha256),
            1000,
            new AlgorithmIdentifier(PKCSObjectIdentifiers.id_hmacWithSHA256)));
        return builder.build(mac.build(secret));
    }

    private void checkProtection(ProtectedPKIMessage message) throws Exception {
        boolean right;
        ASN1ObjectIdentifier algorithm = message.getHeader().getProtectionAlg().getAlgorithm();
        boolean pbm = algorithm.equals(CMPObjectIdentifiers.passwordBasedMac);
        boolean signed = !pbm && !algorithm.equals(PKCSObjectIdentifiers.id_PBMAC1);
        if (signed != (macKind == null) && message.getBody().getType() != PKIBody.TYPE_ERROR) {
            throw new IllegalStateException("the answer is not protected as the request was");
        }
        if (signed) {  // errors to somebody who is not known are signed, whatever he sent
            X509CertificateHolder[] chain = message.getCertificates();
            right = message.verify(new JcaContentVerifierProviderBuilder().setProvider("BC").build(chain[0]));
            right = right && leadsToRoot(chain);
        } else if (!pbm) {
            PBEMacCalculatorProvider provider =
                new JcePBMac1CalculatorProviderBuilder().setProvider("BC").build();
            right = message.verify(provider, secret);
        } else {
            right = message.verify(new PKMACBuilder(new JcePKMACValuesCalculator().setProvider("BC")), secret);
        }
        if (!right) {
            throw new IllegalStateException("the protection of the answer is wrong");
        }
    }

    private boolean leadsToRoot(X509CertificateHolder[] chain) throws Exception {
        X509CertificateHolder current = chain[0];
        for (int step = 0; step < 5; step++) {
            if (current.getIssuer().equals(root.getSubject())) {
                return current.isSignatureValid(
                    new JcaContentVerifierProviderBuilder().setProvider("BC").build(root));
            }
            X509CertificateHolder next = null;
            for (X509CertificateHolder candidate : chain) {
                if (candidate.getSubject().equals(current.getIssuer())) {
                    next = candidate;
                }
            }
            if (next == null || !current.isSignatureValid(
                new JcaContentVerifierProviderBuilder().setProvider("BC").build(next))) {
                return false;
            }
            current = next;
        }
        return false;
    }

    private static String refused(PKIBody answer) {
        if (answer.getType() != PKIBody.TYPE_ERROR) {
            throw new IllegalStateException("unexpected body " + answer.getType());
        }
        throw new IllegalStateException(
            "error: " + text(ErrorMsgContent.getInstance(answer.getContent()).getPKIStatusInfo()));
    }

    private static ProtectedPKIMessage refusedUnprotected(GeneralPKIMessage message) {
        refused(message.getBody());
        throw new IllegalStateException("an answer without protection");
    }

    private static String text(PKIStatusInfo status) {
        String words = status.getStatusString() == null ? "" : status.getStatusString().getStringAtUTF8(0).getString();
        return status.getFailInfo() + " " + words;
    }

    // PBMAC1 by the provider: JcePBMac1CalculatorBuilder of 1.72 names PBES2 where PBKDF2 belongs.
    private static final class Pbmac1 implements MacCalculator {
        private final AlgorithmIdentifier algorithm;
        private final ByteArrayOutputStream message = new ByteArrayOutputStream();
        private final SecretKey key;

        private Pbmac1(PBMAC1Params parameters, PBKDF2Params derivation, char[] secret) throws Exception {
            algorithm = new AlgorithmIdentifier(PKCSObjectIdentifiers.id_PBMAC1, parameters);
            key = SecretKeyFactory.getInstance("PBKDF2WITHHMACSHA256", "BC").generateSecret(new PBEKeySpec(
                secret, derivation.getSalt(), derivation.getIterationCount().intValue(), 256));
        }

        public AlgorithmIdentifier getAlgorithmIdentifier() {
            return algorithm;
        }

        public OutputStream getOutputStream() {
            return message;
        }

        public byte[] getMac() {
            try {
                Mac mac = Mac.getInstance("HmacSHA256", "BC");
                mac.init(key);
                return mac.doFinal(message.toByteArray());
            } catch (GeneralSecurityException e) {
                throw new IllegalStateException(e);
            }
        }

        public GenericKey getKey() {
            return new GenericKey(algorithm, key.getEncoded());
        }
    }

    // -- keys --

    private static ContentSigner signer(PrivateKey key) throws Exception {
        String algorithm = key.getAlgorithm().equals("RSA") ? "SHA256withRSA" : "SHA256withECDSA";
        return new JcaContentSignerBuilder(algorithm).setProvider("BC").build(key);
    }

    private static byte[] random() {
        byte[] octets = new byte[16];
        RANDOM.nextBytes(octets);
        return octets;
    }

    private void readBundle(String path) throws Exception {
        try (PEMParser parser = new PEMParser(new FileReader(path))) {
            certificate = (X509CertificateHolder) parser.readObject();
            key = new JcaPEMKeyConverter().setProvider("BC").getPrivateKey((PrivateKeyInfo) parser.readObject());
        }
    }

    private void writeBundle(String name) throws Exception {
        try (JcaPEMWriter writer = new JcaPEMWriter(new FileWriter(name + ".pem"))) {
            writer.writeObject(certificate);
            writer.writeObject(new PemObject("PRIVATE KEY", key.getEncoded()));
        }
    }
}
