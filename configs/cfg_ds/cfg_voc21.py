# PASCAL VOC 2012 val: 20 classes and the background, 1449 pictures.
_base_ = "../base_config.py"

model = dict(class_file="configs/cls_voc21.txt", options=dict(scale=(1008, 672), prob_thd=0.4))
test_dataloader = dict(
    dataset=dict(
        type="PascalVOCDataset",
        data_root="VOCdevkit/VOC2012",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
        ann_file="ImageSets/Segmentation/val.txt",
    )
)
