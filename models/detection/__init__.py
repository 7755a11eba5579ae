"""Object detection: RetinaNet, SSD-ResNet34 and SSD-MobileNet, with mAP.

`task` is what the three have in common, `retinanet`, `ssd_resnet34` and `ssd_mobilenet` are the
tasks themselves: anchors, decoding and the facts of MLPerf's tables. Networks are in `networks`.
"""
