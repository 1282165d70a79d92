export { FakeClock } from "./fake-clock.ts";
export {
  type CertificateWish,
  createTestPki,
  type TestCertificate,
  type TestPki,
} from "./test-pki.ts";
